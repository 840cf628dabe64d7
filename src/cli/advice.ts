/** What can be done when no mothership takes an instance: for each rule that refuses, one line. */

const adviceByRule: Readonly<Record<string, string>> = {
  registered: 'start a mothership (`rain mothership --help`)',
  connected: 'see why the mothership has no session: is it running, does it reach a replica?',
  'not-cordoned': '`rain uncordon <mothership>` lets instances in again',
  'not-draining': '`rain drain <mothership> --cancel` lets instances in again',
  labels: 'start a mothership with these labels (`--labels key=value`), or ask for others',
  zone: 'start a mothership in that zone (`--zone`), or ask for another one',
  'one-copy-each': 'each copy takes a mothership of its own: start another one, or ask for fewer copies',
  'anti-affinity': 'each instance takes a mothership of its own: start another one, or ask without antiAffinity',
  quarantine: 'deploy a version that works, or have this one tried again (PUT /webcomponent/<id>/<version>)',
  'enough-room':
    'stop what is not needed, start another mothership, or let more be reserved (`rain settings overcommit.<resource>=…`)',
  'below-ceiling':
    '`rain top` shows what is measured: start another mothership, wait, or raise it (`rain settings ceilings.<resource>=…`)',
}

/** Each line once, in the order of the refusals. */
export function adviceOn(refusals: readonly { readonly rule: string }[]): string[] {
  return [...new Set(refusals.map(each => each.rule))].flatMap(rule => adviceByRule[rule] ?? [])
}
