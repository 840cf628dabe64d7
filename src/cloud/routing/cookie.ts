/**
 * The cookie by which HAProxy sends a visitor to the same rain server again, as HAProxy works it out itself
 * (`srv_set_dyncookie` of 2.6): XXH64 of key, address and port, in hex. So any balancer with the same key knows the same
 * cookies, and whoever has the map knows whose one is. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net'

export const cookieName = 'RAIN'
/** The same at every balancer of a cloud. */
export const dynamicCookieKey = 'rain'

/** Undefined for a host by name: its cookie is that of the address that HAProxy found. */
export function dynamicCookie(key: string, host: string, port: number): string | undefined {
  const address = addressBytes(host)
  if (!address) return undefined
  const portBytes = Buffer.alloc(4)
  portBytes.writeUInt32BE(port)
  return xxh64(Buffer.concat([Buffer.from(key), address, portBytes]))
    .toString(16)
    .padStart(16, '0')
}

function addressBytes(host: string): Buffer | undefined {
  if (isIPv4(host)) return Buffer.from(host.split('.').map(Number))
  return isIPv6(host) ? sixBytes(host) : undefined
}

function sixBytes(host: string): Buffer {
  const [head = '', tail] = host.split('%', 1)[0]!.split('::')
  const [front, back] = [head, tail ?? ''].map(wordsOf)
  const gap = tail === undefined ? 0 : 8 - front!.length - back!.length
  const words = [...front!, ...new Array<number>(gap).fill(0), ...back!]
  return Buffer.from(words.flatMap(word => [word >> 8, word & 0xff]))
}

/** The last one may be an address of the fourth version. */
const wordsOf = (text: string): number[] =>
  text === ''
    ? []
    : text.split(':').flatMap(part => {
        if (!part.includes('.')) return [Number.parseInt(part, 16)]
        const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
        return [(a << 8) | b, (c << 8) | d]
      })

const mask = (1n << 64n) - 1n
const primes = [
  11400714785074694791n,
  14029467366897019727n,
  1609587929392839161n,
  9650029242287828579n,
  2870177450012600261n,
] as const
const [p1, p2, p3, p4, p5] = primes
const times = (a: bigint, b: bigint): bigint => (a * b) & mask
const plus = (a: bigint, b: bigint): bigint => (a + b) & mask
const turn = (a: bigint, bits: bigint): bigint => ((a << bits) | (a >> (64n - bits))) & mask
const round = (sum: bigint, lane: bigint): bigint => times(turn(plus(sum, times(lane, p2)), 31n), p1)

/** XXH64 with seed 0 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md). */
export function xxh64(bytes: Buffer): bigint {
  let at = bytes.length - (bytes.length % 32)
  let hash = plus(at === 0 ? p5 : stripes(bytes, at), BigInt(bytes.length))
  for (; at + 8 <= bytes.length; at += 8) {
    hash = plus(times(turn(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n), p1), p4)
  }
  for (; at + 4 <= bytes.length; at += 4) {
    hash = plus(times(turn(hash ^ times(BigInt(bytes.readUInt32LE(at)), p1), 23n), p2), p3)
  }
  for (; at < bytes.length; at++) hash = times(turn(hash ^ times(BigInt(bytes[at]!), p5), 11n), p1)
  hash = times(hash ^ (hash >> 33n), p2)
  hash = times(hash ^ (hash >> 29n), p3)
  return hash ^ (hash >> 32n)
}

function stripes(bytes: Buffer, end: number): bigint {
  let sums = [plus(p1, p2), p2, 0n, mask + 1n - p1]
  for (let at = 0; at < end; at += 32) {
    sums = sums.map((sum, lane) => round(sum, bytes.readBigUInt64LE(at + 8 * lane)))
  }
  const turned = sums.map((sum, lane) => turn(sum, [1n, 7n, 12n, 18n][lane]!)).reduce(plus)
  return sums.reduce((hash, sum) => plus(times(hash ^ round(0n, sum), p1), p4), turned)
}
