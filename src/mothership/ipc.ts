/** What a mothership and the process of a component version say to each other. */
import type { PageRequest, Viewer, ViewRequest } from '../protocol/messages.js'

export interface WorkerStart {
  /** Directory of the unpacked package. */
  readonly directory: string
  readonly mothership: string
}

export interface RenderCall {
  readonly instance: string
  readonly view: string
  readonly context: Readonly<Record<string, unknown>>
  readonly session?: string
  readonly user?: Viewer
  readonly locale?: string
  readonly request?: PageRequest
}

export type ToWorker =
  | { readonly k: 'render'; readonly n: number; readonly call: RenderCall }
  | { readonly k: 'ping'; readonly n: number }

export interface Rendered {
  readonly html: string
  readonly css: readonly string[]
  readonly js: readonly string[]
  readonly title?: string
  readonly context: Readonly<Record<string, unknown>>
  readonly children: readonly ViewRequest[]
}

export type FromWorker =
  | { readonly k: 'ready' }
  /** The self-test failed: the package cannot run here. */
  | { readonly k: 'unfit'; readonly reason: string }
  | { readonly k: 'rendered'; readonly n: number; readonly result: Rendered }
  | { readonly k: 'failed'; readonly n: number; readonly status: number; readonly reason: string }
  | { readonly k: 'pong'; readonly n: number }
