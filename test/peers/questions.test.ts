import { expect, it } from 'vitest'
import { CloudError } from '../../src/cloud/errors.js'
import { Questions } from '../../src/peers/questions.js'
import { ManualClock } from '../support/manual-clock.js'

const round = 2 ** 15

function aBook(): { book: Questions<string>; ask(): { r: number; answer: Promise<string> } } {
  const book = new Questions<string>(new ManualClock())
  const ask = (): { r: number; answer: Promise<string> } => {
    let r = 0
    const answer = book.ask('h1', 1_000, number => (r = number))
    return { r, answer }
  }
  return { book, ask }
}

it('keeps a question apart from those that come a whole round of numbers later', async () => {
  const { book, ask } = aBook()
  const first = ask()
  const numbers = new Set([first.r])
  for (let i = 0; i < 2 * round; i++) {
    const { r, answer } = ask()
    numbers.add(r)
    book.answer(r, `${r}`)
    expect(await answer).toBe(`${r}`)
  }
  expect(numbers.size).toBe(2 * round + 1)

  book.answer(first.r, 'at last')
  expect(await first.answer).toBe('at last')
})

it('gives a late answer to nobody, though its place is taken again', async () => {
  const { book, ask } = aBook()
  const late = ask()
  book.refuse(late.r, new CloudError('timeout', 'too late'))
  await expect(late.answer).rejects.toMatchObject({ code: 'timeout' })
  for (let i = 1; i < round; i++) {
    const { r, answer } = ask()
    book.answer(r, '')
    await answer
  }
  const next = ask()
  expect(next.r).toBe(late.r + round)

  book.answer(late.r, 'of another')
  book.answer(next.r, 'its own')
  expect(await next.answer).toBe('its own')
})

it('drops what one replica was asked, and that alone', async () => {
  const { book, ask } = aBook()
  const dropped = ask()
  const other = book.ask('h2', 1_000, r => queueMicrotask(() => book.answer(r, 'said')))
  book.drop('h1', new CloudError('timeout', 'closed'))

  await expect(dropped.answer).rejects.toMatchObject({ code: 'timeout' })
  expect(await other).toBe('said')
})
