/**
 * A failing world throws a `CloudError` with a stable code. Adapters translate foreign errors into one on the way in;
 * only `api/` knows status codes, and only it turns one into a problem document.
 */
export const codes = {
  'bad-request': 'the request is not well formed',
  'invalid-package': 'the package cannot be deployed',
  'unknown-thing': 'there is nothing by that id',
  conflict: 'the request contradicts what is there',
  'no-room': 'no mothership can take the instance',
  'over-budget': 'packages take all the space that they may',
  unauthenticated: 'no valid token',
  forbidden: 'the token does not allow this',
  'rate-limited': 'too many requests',
  'too-large': 'more than is accepted at once',
  'store-unavailable': 'etcd cannot be reached',
  'no-leader': 'no replica leads at the moment',
  busy: 'the queue is full',
  'chunks-gone': 'the stored package went away while it was deployed',
  'outdated-cursor': 'the cursor is of an earlier era',
  timeout: 'not done in time',
  superseded: 'the term is over',
  'unreadable-value': 'a stored value does not match its schema',
  misconfigured: 'the configuration cannot be used',
  internal: 'a bug',
} as const

export type Code = keyof typeof codes

/**
 * What is wrong with which field: `path` is a JSON pointer into the body, or `query/<name>`, `headers/<name>`; in a
 * package the file, for JSON with a pointer into it (`meta.json#/views/index`), and where in the file, both from 1.
 */
export interface FieldError {
  readonly path: string
  readonly message: string
  readonly line?: number
  readonly column?: number
}

/** `meta.json:4:3: /views/index: …`, as editors and terminals find their way by. */
export function sentenceOf({ path, message, line, column }: FieldError): string {
  const [, file = '', pointer = ''] = /^([^#]*)#?(.*)$/s.exec(path) ?? []
  const at = line === undefined ? '' : column === undefined ? `:${line}` : `:${line}:${column}`
  const where = pointer === '' || pointer === '/' ? [`${file}${at}`] : [`${file}${at}`, pointer]
  return [...where.filter(each => each !== ''), message].join(': ')
}

/** Why one mothership cannot take an instance, by which rule. */
export interface Refusal {
  readonly mothership: string
  readonly rule: string
  readonly reason: string
}

export interface Details {
  readonly errors?: readonly FieldError[]
  readonly reasons?: readonly Refusal[]
  /** When it is worth trying again, in seconds. */
  readonly retryAfterS?: number
}

export class CloudError extends Error {
  override readonly name = 'CloudError'
  constructor(
    readonly code: Code,
    message: string,
    readonly details: Details = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** A case that the types rule out. Reaching it is a bug: the replica restarts rather than lead on a false belief. */
export function unreachable(value: never): never {
  throw new CloudError('internal', `unexpected case: ${JSON.stringify(value)}`)
}
