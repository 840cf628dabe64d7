/**
 * A first control center: the map of the cloud as one page that asks the REST API, with a token that stays in the tab.
 * What it shows is escaped by the browser (text only, never markup).
 */
export const consolePage = `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>RAIN Cloud</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#f4f6f8;color:#1c2733}
header{background:#12324a;color:#fff;padding:.8rem 1.2rem;display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap}
header b{font-size:1.2rem}header span{color:#b9cbd9}main{max-width:76rem;margin:1rem auto;padding:0 1rem}
section{background:#fff;border:1px solid #dfe5ea;border-radius:6px;margin-bottom:1rem;padding:.6rem 1rem;overflow-x:auto}
h2{font-size:1rem;margin:.2rem 0 .5rem}table{border-collapse:collapse;width:100%}
th{text-align:left;font-weight:600;color:#68798a}td,th{padding:.25rem .6rem .25rem 0;border-top:1px solid #eef1f4;vertical-align:top}
.ready,.running{color:#0b6e4f}.gone,.lost,.failed{color:#a3262a}.draining,.starting{color:#8a5a00}
form{display:flex;gap:.5rem;margin:2rem auto;max-width:40rem}input{flex:1;padding:.5rem}button{padding:.5rem 1rem}
#problem{color:#a3262a;min-height:1.5em;padding:0 1.2rem}
</style>
<header><b>RAIN Cloud</b><span id="about"></span></header><p id="problem" role="status"></p><main id="main"></main>
<script>
'use strict'
const main = document.getElementById('main'), about = document.getElementById('about'), problem = document.getElementById('problem')
const make = (tag, text, name) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (name) e.className = name; return e }
const share = (used, of) => of > 0 ? Math.round(100 * used / of) + ' %' : '–'
function table(title, heads, rows) {
  const box = make('section'), body = make('table'), head = make('tr')
  box.append(make('h2', title + ' (' + rows.length + ')'))
  for (const each of heads) head.append(make('th', each))
  body.append(head)
  for (const row of rows) { const line = make('tr'); for (const [text, name] of row.map(c => Array.isArray(c) ? c : [c])) line.append(make('td', text, name)); body.append(line) }
  box.append(body); return box
}
function ask() {
  const form = make('form'), field = make('input'), button = make('button', 'Show the cloud')
  field.placeholder = 'token (viewer is enough)'; field.type = 'password'; field.autocomplete = 'off'; field.setAttribute('aria-label', 'token')
  form.append(field, button)
  form.onsubmit = event => { event.preventDefault(); sessionStorage.setItem('rain-token', field.value.trim()); show() }
  main.replaceChildren(form); field.focus()
}
let cursor
async function show() {
  const token = sessionStorage.getItem('rain-token')
  if (!token) return ask()
  let wait = 1000
  try {
    const query = cursor ? '?block=2s&after=' + cursor : ''
    const answer = await fetch('/map' + query, { headers: { user: token } })
    if (answer.status === 401 || answer.status === 403) { sessionStorage.removeItem('rain-token'); problem.textContent = 'The token is not valid.'; return ask() }
    if (answer.status === 410) cursor = undefined
    else if (!answer.ok) throw new Error((await answer.json()).detail)
    else { draw(await answer.json()); problem.textContent = ''; wait = 200 }
  } catch (error) { problem.textContent = 'Not reached: ' + error.message }
  setTimeout(show, wait)
}
function draw(map) {
  cursor = map.revision
  about.textContent = 'revision ' + map.revision + ' · ' + map.instances + ' instances'
  main.replaceChildren(
    table('Replicas', ['id', 'url', 'role'], map.replicas.map(r => [r.id, r.url, r.leader ? ['leads', 'ready'] : ''])),
    table('Motherships', ['id', 'state', 'instances', 'reserved cpu / ram / bandwidth', 'measured cpu / ram / bandwidth', 'load'], map.motherships.map(m => [m.id, [m.cordoned ? m.state + ', cordoned' : m.state, m.state], m.instances,
      ['cpu', 'ram', 'bandwidth'].map(n => share(m.reserved[n], m.capacity[n])).join(' / '),
      m.measured ? ['cpu', 'ram', 'bandwidth'].map(n => share(m.measured[n], m.capacity[n])).join(' / ') : '–', m.measured ? m.measured.freshness : 'absent'])),
    table('Rain servers', ['id', 'state', 'urls', 'wired to'], map.rainServers.map(s => [s.id, [s.state, s.state], s.urls.join(' '), s.wires.map(w => w.mothership).join(' ')])),
    table('Components', ['id', 'version', 'active', 'instances', 'on'], map.components.map(c => [c.id, c.version, c.active ? 'yes' : 'no', Object.entries(c.instances.byPhase).map(([p, n]) => n + ' ' + p).join(', '), c.motherships.join(' ')])))
}
show()
</script></html>`
