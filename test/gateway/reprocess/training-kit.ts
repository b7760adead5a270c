/** Training sets of a stopped gateway's archive: labels of `pump-1` each five minutes from 14:00 to 18:00. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeTrainingSet } from '../../../gateway/src/archive/training-set.js'
import { withViews } from '../../../gateway/src/archive/views.js'
import { at } from '../../kit/timeline.js'
import type { StoppedGateway } from './kit.js'

const LABELS = 48

/** What each label is given: by what was known at its time, and by the archive as it is now, which leaks. */
export async function trainingSets(gateway: StoppedGateway, folder: string) {
  const [labelsPath, outPath] = [join(folder, 'labels.csv'), join(folder, 'set.parquet')]
  const times = Array.from({ length: LABELS }, (_, i) => at('14:00') + i * 300_000)
  writeFileSync(labelsPath, ['device_id,label_time,label', ...times.map(timeMs => `pump-1,${timeMs},0`)].join('\n'))
  const request = { labelsPath, outPath, profile: 'pump', features: null, embargoMs: 0 }
  return await withViews(gateway.dataDir, { ownFiles: true }, async connection => {
    await writeTrainingSet(connection, request)
    const known = await connection.runAndReadAll(`SELECT temp_max_5m, readings_5m FROM read_parquet('${outPath}') ORDER BY label_time`)
    const leaking = await connection.runAndReadAll(`SELECT f.temp_max_5m, f.readings_5m FROM read_parquet('${outPath}') AS l
      ASOF LEFT JOIN (SELECT * FROM features WHERE device_id = 'pump-1') AS f ON l.label_time >= f.as_of ORDER BY label_time`)
    return { known: known.getRowsJson(), leaking: leaking.getRowsJson() }
  })
}
