/** The agent's log: JSON lines on stdout, each written before the agent goes on. */
import { type Logger, pino } from 'pino'

export function openLog(deviceId: string, level: string): Logger {
  return pino({ level, base: { device: deviceId } }, pino.destination({ fd: 1, sync: true }))
}
