import { expect, test } from 'vitest'
import { connectionsCap } from '../../../gateway/src/front/descriptors.js'
import { processesOf } from '../../../gateway/src/front/fronts.js'

test('a process takes no more connections than it has descriptors for, less a reserve', () => {
  expect(connectionsCap(18_000, 20_000)).toBe(18_000)
  expect(connectionsCap(18_000, 10_000)).toBe(9_000)
  expect(connectionsCap(18_000, 1024)).toBe(512)
  expect(connectionsCap(5, 1024)).toBe(5)
})

test('auto makes as many processes as the expected connections take, with room for those of one that has died', () => {
  const auto = (connectionsExpected: number) => ({
    processes: 'auto' as const,
    connectionsExpected,
    connectionsMax: 18_000,
    lightSessions: true,
    relays: []
  })
  expect(processesOf(auto(10_000), 18_000, 2)).toBe(1)
  expect(processesOf(auto(20_000), 18_000, 2)).toBe(2)
  expect(processesOf(auto(100_000), 18_000, 2)).toBe(7)
  expect(processesOf(auto(16_000), 18_000, 1)).toBe(1) // fits into one, and there is no core for a second
  expect(processesOf({ ...auto(100_000), processes: 3 }, 18_000, 2)).toBe(3)
})
