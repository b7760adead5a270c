/** The configuration of a scenario's gateway: as anybody would run it, but for what the scenario says. */

type Section = Readonly<Record<string, unknown>>

/** No hour is compacted while it is measured: the scenario says so where it should be. */
const OWN: Section = { compaction: { after: '48h' } }

/** What the scenario says stands over what the runner says, section by section. `hasRelays`: devices share connections. */
export function gatewayConfig(section: Section, hasRelays = false): Section {
  return merge(hasRelays ? { ...OWN, mqtt: { relays: ['sim-relay-*'] } } : OWN, section)
}

function merge(under: Section, over: Section): Section {
  const merged: Record<string, unknown> = { ...under }
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key]
    merged[key] = isSection(below) && isSection(value) ? merge(below, value) : value
  }
  return merged
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
