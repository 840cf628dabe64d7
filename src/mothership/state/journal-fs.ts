/** What journals need of a file system; tests put one in that fails where they say. */
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'

export interface JournalFile {
  /** All of it, durable when it resolves. Until then, and when it rejects, any part of it may be there or not. */
  write(bytes: Uint8Array, at: number): Promise<void>
  close(): Promise<void>
}

/** Everything rejects with an error of Node: its `code` tells what is wrong. */
export interface JournalFs {
  /** With those above it, as far as they are missing. */
  makeDirectory(path: string): Promise<void>
  /** Names in it; none when there is no such directory. */
  list(path: string): Promise<readonly string[]>
  read(path: string): Promise<Buffer>
  /** Empty: what was there goes. */
  create(path: string): Promise<JournalFile>
  open(path: string): Promise<JournalFile>
  rename(from: string, to: string): Promise<void>
  /** With all that is in it; it may be missing. */
  remove(path: string): Promise<void>
  /** Names that were made, changed and removed in it are durable when it resolves. */
  syncDirectory(path: string): Promise<void>
}

/** For the owner only: instances keep what is nobody else's business. */
const directoryMode = 0o700
const fileMode = 0o600

export const realJournalFs: JournalFs = {
  makeDirectory: async path => void (await mkdir(path, { recursive: true, mode: directoryMode })),
  list: async path => {
    try {
      return await readdir(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  },
  read: path => readFile(path),
  create: path => openFile(path, constants.O_CREAT | constants.O_TRUNC),
  open: path => openFile(path, 0),
  rename,
  remove: path => rm(path, { recursive: true, force: true }),
  syncDirectory: async path => {
    const directory = await open(path, constants.O_RDONLY)
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  },
}

/** `O_DSYNC`: each write is followed by what `fdatasync` does, without another way through the pool of threads. */
async function openFile(path: string, flags: number): Promise<JournalFile> {
  const file = await open(path, flags | constants.O_WRONLY | constants.O_DSYNC, fileMode)
  return {
    write: async (bytes, at) => {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, at + done)
        done += bytesWritten
      }
    },
    close: () => file.close(),
  }
}

const plain: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left',
  EDQUOT: 'no space left (quota)',
  EIO: 'input/output error',
  EROFS: 'read-only',
  EACCES: 'permission denied',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
}

/** For people: what is the matter with the disk, and where. */
export function troubleOf(error: unknown, path: string): string {
  const { code, message } = error as NodeJS.ErrnoException
  return `disk: ${plain[code ?? ''] ?? message} (${path})`
}
