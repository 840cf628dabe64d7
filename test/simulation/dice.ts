/**
 * Chance by seed. Each purpose has dice of its own, made of the seed and its name, so that what one part of a run draws
 * does not shift what the others get.
 */
import type { Chance } from '../../src/hypervisor/ports.js'

const hex = '0123456789abcdef'

/** sfc32 of PractRand (Chris Doty-Humphrey): small, fast and good enough for far more draws than a run makes. */
export class Dice implements Chance {
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(
    readonly seed: number,
    readonly name = '',
  ) {
    const hash = hashOf(name, seed)
    this.#a = hash
    this.#b = hashOf(name, hash ^ 0x9e3779b9)
    this.#c = seed >>> 0
    for (let i = 0; i < 12; i++) this.next()
  }

  /** Dice for another purpose. */
  for(name: string): Dice {
    return new Dice(this.seed, `${this.name}/${name}`)
  }

  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return (sum >>> 0) / 2 ** 32
  }

  id(length: number): string {
    let text = ''
    while (text.length < length) text += hex[this.below(16)]
    return text
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low)
  }

  /** An integer from 0 on. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  /** True in so many of a hundred cases. */
  percent(share: number): boolean {
    return this.next() * 100 < share
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }

  /** By weight; at least one has to be above 0. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const entries = Object.entries(weights) as [T, number][]
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) if ((left -= weight) < 0) return name
    return entries.at(-1)![0]
  }
}

/** FNV-1a over the characters. */
export function hashOf(text: string, from: number): number {
  let hash = (0x811c9dc5 ^ from) >>> 0
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
