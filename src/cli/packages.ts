/** The verbs of who writes components: look a package over, pack it, deploy it. */
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { digestOfPackage } from '../cloud/component/archive.js'
import { readPackage } from '../cloud/component/package.js'
import { CloudError, type FieldError, sentenceOf } from '../cloud/errors.js'
import type { ComponentView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { connect, type Environment, type Finish, namingAll, print, printJson, verbOf } from './connection.js'
import { packageBytes } from './pack.js'

export function registerPackages(program: Command, environment: Environment, finish: Finish): void {
  program
    .command('validate')
    .description('say all that is wrong with components, as the cloud would when they are deployed; needs no cloud')
    .argument('<path...>', 'directory with a meta.json, or package (.tgz)')
    .option('--json', 'print the faults as a list: path, line, column, message', false)
    .addHelpText('after', validateHelp)
    .action((paths: string[], given) => finish(validate(paths, given)))

  program
    .command('pack')
    .description('make a package of a component: the same files make the same bytes, wherever and whenever')
    .argument('<directory>', 'directory with a meta.json')
    .option('-o, --out <file>', 'where to write it (default: <id>-<version>.tgz, here)')
    .addHelpText('after', packHelp)
    .action((path: string, given) => finish(packInto(path, given)))

  verbOf(program)('deploy', 'deploy components: directories, or packages (.tgz)')
    .argument('<path...>', 'directory with a meta.json, or package')
    .option('--inactive', 'deploy without activating: `rain activate` does that later', false)
    .addHelpText('after', deployHelp)
    .action((paths: string[], given) => finish(deploy(connect(given, environment), paths, given)))
}

const validateHelp = `
Looks at the archive (names, links, sizes, compression), meta.json, every template and partial, the code of the server,
and what they name of each other. Exit code 1 when anything is wrong.

  rain validate ./news
  ./news/meta.json:4:12: /need/cpu: must be >= 0
  ./news/client/templates/index.html:2:4: if doesn't match each`

const packHelp = `
Files and directories whose name begins with a dot, and node_modules, are left out. What is wrong with the component is
told, and then nothing is written.`

const deployHelp = `
A version never changes: the same bytes again change nothing, others are refused. Raise the version in meta.json instead.
What is wrong with a package is told as by \`rain validate\`.`

/** Who reads a terminal clicks on it, so files of a directory are named as they can be opened. */
export function sayFaults(path: string, errors: readonly FieldError[]): void {
  const directory = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
  for (const error of errors) {
    const shown = directory && error.path !== '' ? { ...error, path: join(path, error.path) } : error
    process.stderr.write(`${directory ? '' : `${path}: `}${sentenceOf(shown)}\n`)
  }
}

async function validate(paths: readonly string[], given: { json: boolean }): Promise<number> {
  let code = 0
  for (const path of paths) {
    const reading = await readPackage(await packageBytes(path))
    if (given.json) printJson(reading.kind === 'bad' ? reading.errors : [])
    else if (reading.kind === 'bad') sayFaults(path, reading.errors)
    else {
      const { descriptor, size } = reading.package
      print(`${path} is right: ${descriptor.id}/${descriptor.version}, ${size} bytes as a package`)
    }
    if (reading.kind === 'bad') code = 1
  }
  return code
}

async function packInto(path: string, { out }: { out?: string }): Promise<number> {
  const bytes = await packageBytes(path)
  const reading = await readPackage(bytes)
  if (reading.kind === 'bad') {
    sayFaults(path, reading.errors)
    return 1
  }
  const { id, version } = reading.package.descriptor
  const file = out ?? `${id}-${version}.tgz`
  try {
    writeFileSync(file, bytes)
  } catch (error) {
    throw new CloudError('bad-request', `${file} cannot be written (${(error as NodeJS.ErrnoException).code})`)
  }
  print(`${file}: ${id}/${version}, ${bytes.byteLength} bytes, ${digestOfPackage(bytes)}`)
  return 0
}

async function deploy(
  client: Client,
  paths: readonly string[],
  given: { json: boolean; inactive: boolean },
): Promise<number> {
  for (const path of paths) {
    try {
      const component = await client.deploy<ComponentView>(await packageBytes(path), !given.inactive)
      if (given.json) printJson(component)
      else print(`${component.id}/${component.version} deployed (${component.digest.slice(0, 19)}…)`)
    } catch (error) {
      const faults = error instanceof CloudError && error.code === 'invalid-package' && error.details.errors
      if (!faults) throw namingAll(error, `${path}: `)
      if (given.json) printJson(faults)
      else sayFaults(path, faults)
      return 1
    }
  }
  return 0
}
