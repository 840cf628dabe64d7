/** What comes right after one another is passed on together, so that each costs less. */
export class Together<Item> {
  #list: Item[] = []

  /** `soon`: runs what it is given when what is going on is over. `most`: so many do not wait for that. */
  constructor(
    private readonly soon: (run: () => void) => void,
    private readonly most: number,
    private readonly pass: (list: readonly Item[]) => void,
  ) {}

  add(item: Item): void {
    const count = this.#list.push(item)
    if (count >= this.most) this.#flush()
    else if (count === 1) this.soon(() => this.#flush())
  }

  #flush(): void {
    const list = this.#list
    if (list.length === 0) return
    this.#list = []
    this.pass(list)
  }
}
