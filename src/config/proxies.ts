/**
 * Which proxies a node goes through. `--proxy` is for everything; without it, the variables that other programs go by
 * hold, and nothing on this machine goes through them.
 */
export interface Proxies {
  /** Urls of proxies, by what the target's url begins with; absent: directly. */
  readonly http?: string
  readonly https?: string
  /** What is reached directly, as NO_PROXY names it. */
  readonly except: readonly string[]
}

type Environment = Readonly<Record<string, string | undefined>>

const here = ['localhost', '127.0.0.1', '::1']

export function readProxies(
  flag: string,
  environment: Environment,
): { value: Proxies | undefined } | { problem: string } {
  const variable = (name: string): string => environment[name] ?? environment[name.toLowerCase()] ?? ''
  const except = variable('NO_PROXY')
    .split(',')
    .map(each => each.trim())
    .filter(each => each !== '')
  if (flag !== '') return { value: { http: flag, https: flag, except } }
  const http = proxyIn('HTTP_PROXY', variable('HTTP_PROXY'))
  const https = proxyIn('HTTPS_PROXY', variable('HTTPS_PROXY'))
  for (const each of [http, https]) if (each && 'problem' in each) return each
  if (!http && !https) return { value: undefined }
  return {
    value: {
      ...(http && 'url' in http ? { http: http.url } : {}),
      ...(https && 'url' in https ? { https: https.url } : {}),
      except: [...here, ...except],
    },
  }
}

/** As curl takes it: without a scheme it is http. The value may hold a password, so it is not repeated. */
function proxyIn(name: string, text: string): { url: string } | { problem: string } | undefined {
  if (text === '') return undefined
  const url = /^\w+:\/\//.test(text) ? text : `http://${text}`
  if (/^http:/.test(url) && URL.canParse(url)) return { url: url.replace(/\/+$/, '') }
  return { problem: `${name} is not like http://host:port` }
}
