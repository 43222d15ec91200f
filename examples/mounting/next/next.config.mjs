/** Polyphony and its embedded database read files beside their code, which a bundle would not have. */
const PACKAGES = ['polyphony', '@electric-sql/pglite']

export default {
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
  serverExternalPackages: PACKAGES,
  outputFileTracingIncludes: { '/*': PACKAGES.map((name) => `node_modules/${name}/dist/**`) },
}
