/**
 * A network that a test may cut: each process in a network namespace of its own, all of them on one bridge, which the
 * test reaches too. Names and addresses are of this run only, and everything is removed with it. Needs root.
 *
 * A one-way cut gives the sender a wrong neighbour: what it sends to the other address goes nowhere, and nobody is
 * told. (A blackhole route fails connects at once, which a real cut does not.)
 */
import { spawnSync } from 'node:child_process'

export class Network {
  readonly #tag: string
  readonly #names: string[] = []
  #cuts: { readonly from: number; readonly to: number }[] = []
  readonly #isolated = new Set<number>()

  private constructor(private readonly subnet: string) {
    this.#tag = `rf${process.pid.toString(36)}${Math.floor(Math.random() * 36 ** 2).toString(36)}`
  }

  /** `members`: how many namespaces. */
  static open(members: number): Network {
    const network = new Network(`10.${180 + (process.pid % 60)}.${1 + Math.floor(Math.random() * 250)}`)
    try {
      ip('link', 'add', network.#bridge, 'type', 'bridge')
      ip('addr', 'add', `${network.subnet}.1/24`, 'dev', network.#bridge)
      ip('link', 'set', network.#bridge, 'up')
      for (let i = 0; i < members; i++) network.#add(i)
      return network
    } catch (error) {
      network.close()
      throw error
    }
  }

  get #bridge(): string {
    return `${this.#tag}b`
  }

  #add(member: number): void {
    const name = `${this.#tag}n${member}`
    ip('netns', 'add', name)
    this.#names.push(name)
    ip('link', 'add', this.#port(member), 'type', 'veth', 'peer', 'name', 'v0', 'netns', name)
    ip('link', 'set', this.#port(member), 'master', this.#bridge, 'up')
    ip('-n', name, 'addr', 'add', `${this.address(member)}/24`, 'dev', 'v0')
    ip('-n', name, 'link', 'set', 'v0', 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }

  #port(member: number): string {
    return `${this.#tag}v${member}`
  }

  address(member: number): string {
    return `${this.subnet}.${member + 2}`
  }

  /** Where the test itself is reached from there. */
  get gateway(): string {
    return `${this.subnet}.1`
  }

  /** What runs a program there; it keeps the pid of what was spawned. */
  command(member: number): readonly string[] {
    return ['ip', 'netns', 'exec', this.#names[member]!]
  }

  /** What `from` sends to `to` is lost; the other way is open. */
  cutOneWay(from: number, to: number): void {
    const nobody = '02:00:00:00:00:01'
    ip(
      '-n',
      this.#names[from]!,
      'neigh',
      'replace',
      this.address(to),
      'lladdr',
      nobody,
      'dev',
      'v0',
      'nud',
      'permanent',
    )
    this.#cuts.push({ from, to })
  }

  cut(one: number, other: number): void {
    this.cutOneWay(one, other)
    this.cutOneWay(other, one)
  }

  /** From everybody, this test included. */
  isolate(member: number): void {
    spawnSync('bridge', ['link', 'set', 'dev', this.#port(member), 'state', '0'])
    this.#isolated.add(member)
  }

  heal(): void {
    for (const { from, to } of this.#cuts) {
      spawnSync('ip', ['-n', this.#names[from]!, 'neigh', 'del', this.address(to), 'dev', 'v0'])
    }
    for (const member of this.#isolated) spawnSync('bridge', ['link', 'set', 'dev', this.#port(member), 'state', '3'])
    this.#cuts = []
    this.#isolated.clear()
  }

  close(): void {
    for (const name of this.#names.splice(0)) spawnSync('ip', ['netns', 'del', name])
    spawnSync('ip', ['link', 'del', this.#bridge])
  }
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr?.trim() ?? 'could not be run'}`)
}
