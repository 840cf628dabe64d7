/** Whatever came, to be looked into by tests. */
export interface Json {
  readonly [name: string]: Json
  readonly [index: number]: Json
}

/** Calls as the seed writes them: its headers on every call, an empty body included. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Of a JSON answer; what a test does not find in it is undefined. */
  readonly body: Json
}

export type Rest = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answer>

export function restOf(url: string, token: string): Rest {
  return async (method, path, body, headers = {}) => {
    const bytes = body instanceof Uint8Array
    const response = await fetch(url + path, {
      method,
      headers: {
        'content-type': bytes ? 'application/gzip' : 'application/json',
        accept: 'application/json',
        user: token,
        ...headers,
      },
      ...(body === undefined ? {} : { body: bytes ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const json = /json/.test(response.headers.get('content-type') ?? '') && text !== ''
    return { status: response.status, headers: response.headers, text, body: (json ? JSON.parse(text) : {}) as Json }
  }
}
