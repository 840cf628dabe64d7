/** A log for tests: keeps what was said. */
import type { Log } from '../../src/hypervisor/ports.js'

export class TestLog implements Log {
  readonly said: string[] = []
  readonly entries: { readonly level: string; readonly message: string; readonly fields: object }[] = []

  info(fields: object, message: string): void {
    this.#keep('info', fields, message)
  }

  warn(fields: object, message: string): void {
    this.#keep('warn', fields, message)
  }

  error(fields: object, message: string): void {
    this.#keep('error', fields, message)
  }

  #keep(level: string, fields: object, message: string): void {
    this.said.push(message)
    this.entries.push({ level, message, fields })
  }
}
