/**
 * Headers of one response as undici parses them, with names in lower case. Read-only, like the headers of a fetched
 * response.
 */
export class ResponseHeaders implements Headers {
  readonly #values: Readonly<Record<string, string | string[] | undefined>>

  constructor(values: Readonly<Record<string, string | string[] | undefined>>) {
    this.#values = values
  }

  get(name: string): string | null {
    const key = name.toLowerCase()
    const value = Object.hasOwn(this.#values, key) ? this.#values[key] : undefined
    return value === undefined ? null : typeof value === 'string' ? value : value.join(', ')
  }

  has(name: string): boolean {
    return this.get(name) !== null
  }

  getSetCookie(): string[] {
    const value = this.#values['set-cookie']
    return value === undefined ? [] : typeof value === 'string' ? [value] : value
  }

  *entries(): Generator<[string, string], undefined> {
    for (const name of Object.keys(this.#values)) yield [name, this.get(name) ?? '']
  }

  *keys(): Generator<string, undefined> {
    yield* Object.keys(this.#values)
  }

  *values(): Generator<string, undefined> {
    for (const [, value] of this.entries()) yield value
  }

  forEach(callback: (value: string, name: string, parent: Headers) => void): void {
    for (const [name, value] of this.entries()) callback(value, name, this)
  }

  [Symbol.iterator](): Generator<[string, string], undefined> {
    return this.entries()
  }

  append(): never {
    throw immutable()
  }

  delete(): never {
    throw immutable()
  }

  set(): never {
    throw immutable()
  }
}

const immutable = () => new TypeError('The headers of a response are read-only')
