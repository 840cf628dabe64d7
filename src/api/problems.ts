/** From an error to a problem document (RFC 9457): the only place that knows status codes. */
import { STATUS_CODES } from 'node:http'
import Type, { type Static } from 'typebox'
import { CloudError, type Code, codes } from '../cloud/errors.js'

export const statusOf: Readonly<Record<Code, number>> = {
  'bad-request': 400,
  'invalid-package': 422,
  'unknown-thing': 404,
  conflict: 409,
  'no-room': 409,
  'over-budget': 409,
  unauthenticated: 401,
  forbidden: 403,
  'rate-limited': 429,
  'too-large': 413,
  'store-unavailable': 503,
  'no-leader': 503,
  busy: 503,
  'chunks-gone': 503,
  'outdated-cursor': 410,
  timeout: 504,
  superseded: 503,
  'unreadable-value': 500,
  misconfigured: 500,
  internal: 500,
}

export const Problem = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String(),
  detail: Type.String(),
  instance: Type.String(),
  errors: Type.Optional(
    Type.Array(
      Type.Object({
        path: Type.String(),
        message: Type.String(),
        line: Type.Optional(Type.Integer({ description: 'in the file of the package, from 1' })),
        column: Type.Optional(Type.Integer({ description: 'from 1' })),
      }),
    ),
  ),
  reasons: Type.Optional(
    Type.Array(Type.Object({ mothership: Type.String(), rule: Type.String(), reason: Type.String() })),
  ),
})
export type Problem = Static<typeof Problem>

export const problemType = 'application/problem+json; charset=utf-8'

/** `path`: of the request, without query: that could hold what is nobody's business. */
export function problemOf(error: CloudError, path: string, status = statusOf[error.code]): Problem {
  const { errors, reasons } = error.details
  return {
    type: `urn:rain:problem:${error.code}`,
    title: status === statusOf[error.code] ? codes[error.code] : (STATUS_CODES[status] ?? codes[error.code]),
    status,
    code: error.code,
    detail: printable(error.message),
    instance: printable(path),
    ...(errors
      ? { errors: errors.map(each => ({ ...each, path: printable(each.path), message: printable(each.message) })) }
      : {}),
    ...(reasons ? { reasons: [...reasons] } : {}),
  }
}

/** Control characters are shown, not sent. */
const printable = (text: string): string =>
  text.slice(0, 2_000).replace(/\p{Cc}/gu, char => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)

/** What the web framework itself refuses, in our words. Undefined: a bug. */
export function refusalOf(error: {
  readonly code?: unknown
  readonly statusCode?: unknown
  readonly message: string
}): {
  error: CloudError
  status?: number
} {
  if (error instanceof CloudError) return { error }
  const { code, statusCode } = error
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return { error: new CloudError('too-large', 'the body is too large') }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const message = 'send the body as application/json'
    return { error: fieldError('headers/content-type', message), status: 415 }
  }
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    const known = error instanceof SyntaxError || code === 'FST_ERR_CTP_INVALID_JSON_BODY'
    return {
      error: known ? fieldError('', `not JSON: ${error.message}`) : new CloudError('bad-request', error.message),
    }
  }
  return { error: new CloudError('internal', 'this should not have happened: it is in the log of this replica') }
}

export const fieldError = (path: string, message: string): CloudError =>
  new CloudError('bad-request', path === '' ? message : `${path}: ${message}`, { errors: [{ path, message }] })
