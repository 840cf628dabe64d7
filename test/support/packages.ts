/** Packages for tests, from file contents. */
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'

export async function aPackage(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const tar = pack()
  const mtime = new Date(0)
  for (const [name, content] of Object.entries(files)) tar.entry({ name, mtime }, content)
  tar.finalize()
  const parts: Buffer[] = []
  for await (const part of tar) parts.push(part as Buffer)
  return gzipSync(Buffer.concat(parts))
}
