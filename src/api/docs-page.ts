/** The API as a page to read, made from the OpenAPI document. */
interface Operation {
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly { name: string; in: string; description?: string }[]
  readonly responses?: Readonly<Record<string, unknown>>
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, char => `&#${char.charCodeAt(0)};`)

export function docsPage(document: Record<string, unknown>): string {
  const { info, paths } = document as {
    info: { title: string; version: string; description: string }
    paths: Record<string, Record<string, Operation>>
  }
  const byTag = new Map<string, string[]>()
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] ?? 'other'
      byTag.set(tag, [...(byTag.get(tag) ?? []), rowOf(method, path, operation)])
    }
  }
  const sections = [...byTag].map(([tag, rows]) => `<h2>${escaped(tag)}</h2><table>${rows.join('')}</table>`)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(info.title)} API</title><style>${style}</style>
<h1>${escaped(info.title)} API <small>${escaped(info.version)}</small></h1>
<p>${escaped(info.description)} The whole document: <a href="/openapi.json">/openapi.json</a>.</p>
${sections.join('\n')}</html>`
}

function rowOf(method: string, path: string, { summary, description, parameters, responses }: Operation): string {
  const asked = (parameters ?? []).filter(each => each.in === 'query').map(each => escaped(each.name))
  const statuses = Object.keys(responses ?? {}).filter(each => each !== 'default')
  return `<tr><td class="m ${method}">${method.toUpperCase()}</td><td><code>${escaped(path)}</code>
<div>${escaped(summary ?? '')}. ${escaped(description ?? '')}</div>
${asked.length > 0 ? `<div class="q">?${asked.join(' ?')}</div>` : ''}</td><td>${statuses.join(', ')}</td></tr>`
}

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1 small{font-weight:400;color:#68798a}h2{margin-top:2rem;text-transform:capitalize}table{border-collapse:collapse;width:100%}
td{border-top:1px solid #dfe5ea;padding:.5rem .6rem;vertical-align:top}.m{font-weight:600;width:4.5rem}
.get{color:#0b6e4f}.post{color:#1457a8}.put{color:#8a5a00}.delete{color:#a3262a}.q{color:#68798a;font-size:13px}`
