/**
 * The systemd unit of the agent, as text. Pure.
 *
 * The agent runs as a system user with a fixed ID (not `DynamicUser=`): the configuration may hold a password, so it belongs to a
 * group that exists before the service does; a buffer may lie anywhere; and rules for devices (udev, sudoers, the groups dialout, gpio,
 * i2c) name users. What the hardware of the sources needs is said in the unit alone (`SupplementaryGroups=`, `DeviceAllow=`).
 *
 * Limits are named as in systemd.exec(5), systemd.service(5) and systemd.resource-control(5), as of systemd 247.
 */

export const SERVICE = 'tidemark-agent.service'

/** The unit's own section, which systemd ignores: what a later `install` or `uninstall` must know. */
export const MARKER_SECTION = 'X-Tidemark'

/** What the unit depends on. All paths are absolute. */
export interface UnitFacts {
  readonly agentVersion: string
  readonly node: string
  /** The agent's entry, which node runs. */
  readonly entry: string
  readonly config: string
  readonly bufferPath: string
  readonly user: string
  readonly group: string
  /** Beside the user's own. */
  readonly groups: readonly string[]
  readonly devices: DeviceAccess
  /** Something that the service must read or write lies in somebody's home. */
  readonly needsHome: boolean
  /** Of `buffer.ring_bytes`. */
  readonly ringBytes: number
}

/** none: no device file at all. serial: serial lines. any: whatever the groups allow, for commands of `exec` sources. */
export type DeviceAccess = 'none' | 'serial' | 'any'

/** The folder of which systemd takes care (`StateDirectory=`). */
const STATE = '/var/lib'

/**
 * What the agent may take beside its ring, in MiB. Measured: 72 at one reading a second; 115 when it drained 400,000 readings, 198 when
 * it replayed a recording of as many rows at full speed.
 */
const MEMORY_MIB = 248

export function unitText(facts: UnitFacts): string {
  const { agentVersion, node, entry, config, bufferPath, user, group, groups, needsHome } = facts
  const state = stateDirectory(bufferPath)
  const folder = bufferPath.slice(0, bufferPath.lastIndexOf('/')) || '/'
  const memoryMib = MEMORY_MIB + Math.ceil((2 * facts.ringBytes) / 2 ** 20)
  return `# Written by \`tidemark-agent install\`, which writes it anew each time. Changes of your own: sudo systemctl edit tidemark-agent
[Unit]
Description=Tidemark agent
After=network.target
RequiresMountsFor=${path(folder)}
# Nobody may stand in front of the device: it is never given up.
StartLimitIntervalSec=0

[Service]
# The agent tells systemd that it samples, by systemd-notify, which is a process of its own.
Type=notify
NotifyAccess=all
ExecStart=${[node, entry, 'start', '--config', config].map(argument).join(' ')}
ExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=10s
# Long, since salvaging a large damaged buffer holds up everything else.
WatchdogSec=5min
TimeoutStartSec=10min
TimeoutStopSec=20s
KillMode=mixed

User=${user}
Group=${group}
${groups.length === 0 ? '' : `SupplementaryGroups=${groups.join(' ')}\n`}UMask=0077
${state === null ? `ReadWritePaths=${path(folder)}` : `StateDirectory=${state}\nStateDirectoryMode=0750`}
MemoryMax=${memoryMib}M

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
${needsHome ? '# read-only: something that it needs lies in a home' : '# nothing that it needs lies in a home'}
ProtectHome=${needsHome ? 'read-only' : 'yes'}
PrivateTmp=yes
${deviceLines(facts.devices)}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6${facts.devices === 'any' ? ' AF_NETLINK' : ''}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# MemoryDenyWriteExecute= must stay off: Node compiles JavaScript to machine code while it runs.
# ProcSubset=pid must, too: the source \`system\` reads /proc/stat, meminfo and loadavg.

[Install]
WantedBy=multi-user.target

[${MARKER_SECTION}]
Version=${agentVersion}
Config=${config}
Buffer=${bufferPath}
User=${user}
`
}

function deviceLines(devices: DeviceAccess): string {
  switch (devices) {
    case 'none':
      return 'PrivateDevices=yes\nProtectClock=yes'
    case 'serial':
      return [
        '# Serial lines for Modbus RTU, also those that are plugged in later.',
        'DevicePolicy=closed',
        ...['ttyS', 'ttyAMA', 'ttyUSB', 'ttyACM'].map(kind => `DeviceAllow=char-${kind} rw`),
        'ProtectClock=yes'
      ].join('\n')
    case 'any':
      return '# Commands of exec sources may use what the groups of the user allow. (ProtectClock= would forbid all devices but the clock.)\nPrivateDevices=no'
    default:
      return devices satisfies never
  }
}

/** The name below /var/lib, where the buffer lies directly in a folder of its own there; else null. */
export function stateDirectory(bufferPath: string): string | null {
  const [, name] = /^\/var\/lib\/([A-Za-z0-9._-]+)\/[^/]+$/.exec(bufferPath) ?? []
  return name === undefined || name.startsWith('.') ? null : name
}

export function stateFolder(name: string): string {
  return `${STATE}/${name}`
}

/** An argument of a command line: quoted, `%` and `$` as themselves. */
function argument(text: string): string {
  return path(text).replaceAll('$', '$$$$')
}

/** A path in a setting: quoted where it must be, `%` as itself. */
function path(text: string): string {
  const escaped = text.replaceAll('%', '%%')
  return /^[A-Za-z0-9/._@:+,=$%~-]+$/.test(escaped) ? escaped : `"${escaped.replace(/[\\"]/g, '\\$&')}"`
}

/** What `install` noted in a unit; null where it did not write it. */
export function markerOf(unit: string): { config: string; bufferPath: string; user: string } | null {
  const section = unit.split(`\n[${MARKER_SECTION}]\n`)[1]
  if (section === undefined) return null
  const value = (key: string) =>
    section
      .split('\n')
      .find(line => line.startsWith(`${key}=`))
      ?.slice(key.length + 1) ?? ''
  return { config: value('Config'), bufferPath: value('Buffer'), user: value('User') }
}
