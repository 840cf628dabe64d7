import { expect, it } from 'vitest'
import { adviceOn } from '../../src/cli/advice.js'
import { rules } from '../../src/cloud/placement/rules/index.js'

it('says for each rule what can be done, once', () => {
  for (const { name } of rules) expect([name, adviceOn([{ rule: name }, { rule: name }]).length]).toEqual([name, 1])
  expect(adviceOn([{ rule: 'registered' }, { rule: 'from a newer release' }])).toHaveLength(1)
})
