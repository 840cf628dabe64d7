/** A log for tests: keeps what was said. */
import type { Log } from '../../src/hypervisor/ports.js'

export class TestLog implements Log {
  readonly said: string[] = []

  info(_fields: object, message: string): void {
    this.said.push(message)
  }

  warn(fields: object, message: string): void {
    this.info(fields, message)
  }

  error(fields: object, message: string): void {
    this.info(fields, message)
  }
}
