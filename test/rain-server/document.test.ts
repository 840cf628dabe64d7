import { describe, expect, it } from 'vitest'
import { headOf } from '../../src/rain-server/document.js'

describe('a document', () => {
  it('has its style sheets, each for its media', () => {
    const css = ['/a.css', '/b.css print', '/c.css screen and (min-width: 10em)"><script>']
    const links = headOf({ title: 'T', css, js: [], locale: 'de-DE' }).match(/<link .*>/g)
    expect(links).toEqual([
      '<link rel="stylesheet" href="/a.css">',
      '<link rel="stylesheet" href="/b.css" media="print">',
      '<link rel="stylesheet" href="/c.css" media="screen and (min-width: 10em)&#34;&#62;&#60;script&#62;">',
    ])
  })
})
