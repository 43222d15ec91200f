/** A PDF of one page with the lines under each other, in Helvetica. Lines hold ASCII. */
export function createPdf(lines: readonly string[]): Uint8Array {
  const shown = lines.map((line) => `(${line.replace(/[\\()]/g, '\\$&')}) Tj T*`)
  const page = `BT /F1 12 Tf 16 TL 72 770 Td ${shown.join(' ')} ET`
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>',
    `<< /Length ${page.length} >>\nstream\n${page}\nendstream`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>',
  ]
  let pdf = '%PDF-1.4\n'
  const offsets = objects.map((object, index) => {
    const offset = pdf.length
    pdf += `${index + 1} 0 obj\n${object}\nendobj\n`
    return `${String(offset).padStart(10, '0')} 00000 n \n`
  })
  const size = objects.length + 1
  const table = `xref\n0 ${size}\n0000000000 65535 f \n${offsets.join('')}`
  return new TextEncoder().encode(`${pdf}${table}trailer\n<< /Size ${size} /Root 1 0 R >>\nstartxref\n${pdf.length}\n%%EOF\n`)
}

/** The lines of a PDF that `createPdf` made: the scripted vendors of an example read it in place of a model. */
export const linesOfPdf = (pdf: Uint8Array): readonly string[] =>
  [...new TextDecoder().decode(pdf).matchAll(/\(((?:\\.|[^\\)])*)\) Tj/g)].map(([, line = '']) => line.replace(/\\(.)/g, '$1'))
