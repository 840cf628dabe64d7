/**
 * Decisions are two thirds of what an instance weighs, and hardly ever read. So memory keeps the text of a decision and
 * parses it when somebody asks. That it can be parsed, and matches its schema, is certain before: only a text of exactly
 * the shape that this product writes is kept so (P1: whatever `isDecisionText` takes, `JSON.parse` makes a decision that
 * its schema takes); any other one is parsed and checked at once.
 */
import { nodeIdPattern } from '../cloud/ids.js'
import type { Decision } from '../cloud/records.js'

const count = '(?:0|[1-9]\\d{0,14})'
const share = `${count}(?:\\.\\d{1,20})?`
const number = `-?${share}`
const word = '"[\\w -]{0,64}"'
const mothership = `"${nodeIdPattern.slice(1, -1)}"`
const record = (value: string): string => `\\{(?:${word}:${value}(?:,${word}:${value})*)?\\}`
const candidate =
  `\\{"mothership":${mothership},"score":${number},"terms":${record(number)},` +
  `"pressure":\\{"cpu":${share},"ram":${share},"bandwidth":${share}\\},"loadAgeMs":(?:null|${number})\\}`
const decision = new RegExp(
  `^\\{"decisionRevision":${count},"at":"\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z",` +
    `"candidates":\\[(?:${candidate}(?:,${candidate})*)?\\],"refusedByRule":${record(count)}\\}$`,
)

export const isDecisionText = (text: string): boolean => decision.test(text)

/** Of a text that `isDecisionText` takes. */
export const parseDecision = (text: string): Decision => JSON.parse(text) as Decision
