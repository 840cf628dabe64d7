/** From the text of an option to its value, or what is wrong with it. */
import { readFileSync } from 'node:fs'
import { isUrlPattern } from '../cloud/commands.js'
import { parseDurationMs } from '../cloud/duration.js'
import { isNewNodeId } from '../cloud/ids.js'
import type { Option, RoleName } from './options.js'

export const measures = ['processes', 'cgroup', 'machine'] as const
/** What a mothership's load is taken from. */
export type Measure = (typeof measures)[number]
const isMeasure = (text: string): text is Measure => (measures as readonly string[]).includes(text)

/** Both inclusive. */
export interface UidRange {
  readonly first: number
  readonly last: number
}

export type Parsed = { value: unknown } | { problem: string }

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent']
const ttlMinMs = 1_000

export function parse(option: Option, text: string, role: RoleName): Parsed {
  switch (option.type) {
    case 'text':
      return text === '' && option.default !== '' ? { problem: 'must not be empty' } : { value: text }
    case 'level':
      return levels.includes(text) ? { value: text } : { problem: 'trace, debug, info, warn, error or silent' }
    case 'count':
      return /^[1-9]\d{0,8}$/.test(text) ? { value: Number(text) } : { problem: 'not a whole number above 0' }
    case 'origin':
      return parseOrigin(text, role === 'mothership' ? 'ws' : 'http')
    case 'url':
      return parseUrl(text)
    case 'proxy':
      return parseProxy(text)
    case 'patterns':
      return parsePatterns(text)
    case 'secret':
      return parseSecret(text)
    case 'id':
      return isNewNodeId(text)
        ? { value: text }
        : { problem: 'letters, digits, `_`, `.` and `-`, at most 128, and not `all`' }
    case 'port':
      return /^\d{1,5}$/.test(text) && Number(text) <= 65535 ? { value: Number(text) } : { problem: 'not a port' }
    case 'number':
      return /^\d{1,12}(\.\d+)?$/.test(text) ? { value: Number(text) } : { problem: 'not a number' }
    case 'amount':
      if (text === 'auto') return { value: undefined }
      return /^\d{1,12}(\.\d+)?$/.test(text) ? { value: Number(text) } : { problem: 'not a number, nor auto' }
    case 'measure':
      return isMeasure(text) ? { value: text } : { problem: 'processes, cgroup or machine' }
    case 'uids':
      return parseUids(text)
    case 'duration': {
      const ms = parseDurationMs(text)
      if (ms === undefined) return { problem: 'not a duration like 500ms, 10s, 5m' }
      return ms < ttlMinMs ? { problem: 'at least 1s' } : { value: ms }
    }
    case 'flag':
      return text === 'true' || text === 'false' ? { value: text === 'true' } : { problem: 'true or false' }
    case 'urls': {
      const urls = splitList(text)
      const bad = urls.find(url => !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      if (urls.length === 0) return { problem: 'at least one url' }
      return bad === undefined
        ? { value: urls.map(url => url.replace(/\/+$/, '')) }
        : { problem: `${bad} is not an http url` }
    }
    case 'labels':
      return parseLabels(text)
    case 'file':
      return readText(text)
  }
}

const splitList = (text: string): string[] =>
  text
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '')

/** Never root. Empty: none. */
function parseUids(text: string): Parsed {
  if (text === '') return { value: undefined }
  const [, first = '', last = first] = /^([1-9]\d{0,8})(?:-([1-9]\d{0,8}))?$/.exec(text) ?? []
  const range: UidRange = { first: Number(first), last: Number(last) }
  return first === '' || range.last < range.first
    ? { problem: 'not a number above 0, nor a range like 60000-60999' }
    : { value: range }
}

/** Empty: made of host and port. */
function parseOrigin(text: string, scheme: 'http' | 'ws'): Parsed {
  const fits = text === '' || (new RegExp(`^${scheme}s?://[^\\s/?#]+$`).test(text) && URL.canParse(text))
  return fits ? { value: text } : { problem: `not like ${scheme}://host:port` }
}

/** With a path, for what stands behind a proxy; empty: none. */
function parseUrl(text: string): Parsed {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (text === '') return { value: '' }
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '' || url.username !== '') {
    return { problem: 'not an url like http://host:port' }
  }
  return { value: `${url.origin}${url.pathname.replace(/\/+$/, '')}` }
}

/** May hold a name and a password; empty: none. */
function parseProxy(text: string): Parsed {
  const fits = text === '' || (/^http:\/\/[^\s/?#]+\/?$/.test(text) && URL.canParse(text))
  return fits ? { value: text.replace(/\/$/, '') } : { problem: 'not like http://host:port' }
}

function parsePatterns(text: string): Parsed {
  const patterns = splitList(text)
  if (patterns.length === 0) return { problem: 'at least one path pattern' }
  const bad = patterns.find(each => !isUrlPattern(each))
  return bad === undefined ? { value: patterns } : { problem: `${bad} is no path pattern` }
}

/** It travels in a header. */
function parseSecret(path: string): Parsed {
  if (path === '') return { problem: 'must not be empty' }
  const read = readText(path)
  if ('problem' in read) return read
  const fits = /^[\x21-\x7e]{1,512}$/.test(String(read.value))
  return fits ? read : { problem: 'must hold one line without spaces, at most 512 characters' }
}

function parseLabels(text: string): Parsed {
  const labels: Record<string, string> = {}
  for (const part of splitList(text)) {
    const match = /^([\w./-]{1,128})=(.{0,256})$/.exec(part)
    if (!match) return { problem: `${part} is not key=value` }
    labels[match[1]!] = match[2]!
  }
  return { value: labels }
}

function readText(path: string): Parsed {
  if (path === '') return { value: '' }
  try {
    const text = readFileSync(path, 'utf8').trim()
    return text === '' ? { problem: 'the file is empty' } : { value: text }
  } catch (error) {
    return { problem: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown cause'})` }
  }
}
