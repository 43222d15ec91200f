/** Text of an address as it was meant: it may hold a percent sign that encodes nothing. */
export function decodedUrlText(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The header `Proxy-Authorization` for the user and password of a proxy; `undefined` if it names none. */
export function proxyToken({ username, password }: Pick<URL, 'username' | 'password'>): string | undefined {
  if (username === '') return undefined
  const credentials = `${decodedUrlText(username)}:${decodedUrlText(password)}`
  return `Basic ${Buffer.from(credentials).toString('base64')}`
}
