import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { builtWorker } from '../support/build.js'

it('the program of components brings nothing that only makes its start longer', () => {
  const program = readFileSync(builtWorker, 'utf8')
  const libraries = new Set([...program.matchAll(/^\/\/ node_modules\/([^/]+)/gm)].map(each => each[1]))

  // Schemas and their library, a parser, node's http: each took a sixth of its start or more.
  expect([...libraries].sort()).toEqual(['handlebars', 'immer', 'source-map'])
  expect(program).not.toMatch(/from "(\.|node:https?")/)
})
