import { beforeEach, describe, expect, test } from 'vitest'
import { RepairTrigger } from '../../../gateway/src/repair/repair-trigger.js'

describe('a repair', () => {
  let nowMs: number
  let trigger: RepairTrigger
  beforeEach(() => {
    nowMs = 0
    trigger = new RepairTrigger(600_000, () => nowMs)
  })
  const due = (marks: number, repairing = false) => trigger.isDue({ marks, repairing })

  test('is ordered as soon as something is marked, and not when nothing is', () => {
    expect(due(0)).toBe(false)
    expect(due(1)).toBe(true)
  })

  test('is not ordered again before the interval has passed', () => {
    expect(due(1)).toBe(true)
    trigger.noteLeft(0)
    nowMs = 599_999
    expect(due(5)).toBe(false)
    nowMs = 600_000
    expect(due(5)).toBe(true)
  })

  test('is not ordered while one is under way, however long that takes', () => {
    expect(due(1)).toBe(true)
    nowMs = 6_000_000
    expect(due(5, true)).toBe(false)
    expect(due(5)).toBe(true)
  })

  test('is not ordered for marks that the last one could not serve', () => {
    expect(due(3)).toBe(true)
    trigger.noteLeft(2)
    nowMs = 6_000_000
    expect(due(2)).toBe(false)
    expect(due(3)).toBe(true)
  })
})
