/** What people are told of a failed comparison: the first of its faults, and how many more there are. */
const SHOWN_MAX = 10

export class Faults {
  private readonly shown: string[] = []
  private count = 0

  add(fault: string): void {
    if (++this.count <= SHOWN_MAX) this.shown.push(fault)
  }

  get first(): string[] {
    return this.count > SHOWN_MAX ? [...this.shown, `and ${this.count - SHOWN_MAX} more`] : this.shown
  }
}
