/** What the bare etcd client may be asked, for both sides of it. */
export interface EtcdQuestion {
  readonly kind: 'puts' | 'transactions'
  readonly concurrency: number
  readonly ms: number
  /** Of a value. */
  readonly bytes: number
}

/** As many as fit beside nothing else. */
export const putsEach = 127
