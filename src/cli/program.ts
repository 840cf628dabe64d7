/** The `rain` command: roles, the whole cloud at once, and the operator's verbs. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { environmentName, type Flags, options, type RoleName } from '../config.js'
import { registerDev } from './dev/command.js'
import { down } from './up/down.js'
import { type UpDeps, up } from './up/up.js'
import { registerVerbs } from './verbs.js'

export interface ProgramDeps extends UpDeps {
  readonly version: string
  /** Each runs until it is stopped by a signal, and resolves with its exit code. */
  readonly roles: Readonly<Record<RoleName, (flags: Flags) => Promise<number>>>
}

const roleSummaries: Readonly<Record<RoleName, string>> = {
  hypervisor: 'run a hypervisor replica: REST API, planning, sessions of nodes',
  mothership: 'run a mothership: hosts web component instances',
  server: 'run a rain server: serves pages from fragments of motherships',
  balancer: 'run a balancer agent: keeps HAProxy in step with the cloud',
}

/** Resolves with the exit code. Rejects with what is to be said in one line. */
export async function runProgram(args: readonly string[], deps: ProgramDeps): Promise<number> {
  let code = 0
  const program = new Command('rain')
  program
    .description('RAIN Cloud: web components that run on motherships, pages that rain servers make of them')
    .version(deps.version, '-V, --version')
    .configureOutput({ outputError: (text, write) => write(usageLine(text)) })
    .exitOverride()
  const finish = (result: Promise<number>): Promise<void> =>
    result.then(value => {
      code = value
    })
  for (const role of Object.keys(deps.roles) as RoleName[]) {
    registerRole(program, role, flags => finish(deps.roles[role](flags)))
  }
  registerCloud(program, deps, finish)
  registerVerbs(program, deps.environment, finish)
  registerDev(program, deps, finish)
  if (args.length === 0) {
    program.outputHelp()
    return 0
  }
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode
    throw error
  }
  return code
}

/** What is wrong with the words of a command, in one line as everything else that goes wrong. */
const usageLine = (text: string): string =>
  `rain: ${text
    .trim()
    .replace(/^error: /, '')
    .replace(/\.$/, '')
    .replace(/\s*\n\s*/g, ' ')} (see rain --help)\n`

/** Flags come from the one table of options; what is wrong with them is said by the configuration's own reader. */
function registerRole(program: Command, role: RoleName, run: (flags: Flags) => Promise<void>): void {
  const command = program.command(role).description(roleSummaries[role])
  for (const option of options.filter(each => each.roles.includes(role))) {
    const standard = option.default
    const required = standard === undefined ? '; required' : standard === '' ? '' : `; default ${standard}`
    const text = `${option.help} (${environmentName(option.flag)}${required})`
    command.addOption(new Option(`--${option.flag} <${option.type}>`, text))
  }
  command.action(async (given: Record<string, string>) => run(flagsOf(given)))
}

/** commander's camelCase names back to flags. */
const flagsOf = (given: Readonly<Record<string, string>>): Flags =>
  Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name.replace(/[A-Z]/g, char => `-${char.toLowerCase()}`), value]),
  )

function whole(min: number, max: number): (text: string) => number {
  return text => {
    if (/^\d{1,6}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
    throw new InvalidArgumentError(`a whole number from ${min} to ${max}.`)
  }
}

const etcdSizes = (text: string): number => {
  if (text === '1' || text === '3' || text === '5') return Number(text)
  throw new InvalidArgumentError('1, 3 or 5: consensus needs an odd number of members.')
}

/** An empty variable of a shell is not meant as the directory where one happens to be. */
const directory = (text: string): string => {
  if (text !== '') return text
  throw new InvalidArgumentError('a directory.')
}

function registerCloud(program: Command, deps: ProgramDeps, finish: (result: Promise<number>) => Promise<void>): void {
  program
    .command('up')
    .description('run a whole cloud on this machine, with a sample application; Ctrl-C stops it')
    .option('--etcd <n>', 'etcd members: 1, 3 or 5', etcdSizes, 3)
    .option('--replicas <n>', 'hypervisor replicas', whole(1, 9), 3)
    .option('--motherships <n>', 'motherships', whole(1, 20), 3)
    .option('--rain-servers <n>', 'rain servers', whole(1, 20), 4)
    .option(
      '--port-base <port>',
      'pages at this port, REST at the next, all others within 200',
      whole(1024, 65_000),
      7000,
    )
    .option('--data-dir <dir>', 'where the cloud keeps its data, secrets and logs', directory, '.rain')
    .option('--detach', 'go to the background once the cloud is ready', false)
    .addOption(new Option('--background').default(false).hideHelp())
    .action(given => finish(up(given, deps)))
  program
    .command('down')
    .description('stop the cloud that `rain up` started')
    .option('--data-dir <dir>', 'the data directory that was given to up', directory, '.rain')
    .action(given => finish(down(given)))
}
