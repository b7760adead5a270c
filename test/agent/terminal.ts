/** A terminal with somebody at it, which Node cannot make: python3 runs a command there and types. */
import { spawnSync } from 'node:child_process'

const TYPIST = `
import fcntl, json, os, pty, select, struct, sys, termios, time
command, script = json.loads(sys.argv[1]), json.loads(sys.argv[2])
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 200, 0, 0))
    os.execvp(command[0], command)
seen = b''
screen = b''
def read(seconds):
    global seen, screen
    if not select.select([fd], [], [], seconds)[0]:
        return True
    try:
        data = os.read(fd, 65536)
    except OSError:
        return False
    seen += data
    screen += data
    return data != b''
deadline = time.time() + 20
for question, keys in script:
    while question.encode() not in seen and time.time() < deadline and read(1):
        pass
    while read(0.15) and select.select([fd], [], [], 0)[0]:
        pass
    seen = b''
    os.write(fd, keys.encode())
while time.time() < deadline and read(1):
    pass
if time.time() >= deadline:
    os.kill(pid, 9)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({'code': code, 'screen': screen.decode('utf8', 'replace')}))
`

export const hasTerminal = spawnSync('python3', ['--version']).error === undefined

/**
 * Runs a command at a terminal.
 * @param script what is typed once a text is on the screen, step by step
 */
export function typeAt(command: readonly string[], script: readonly (readonly [string, string])[]): { code: number; screen: string } {
  const { stdout, stderr } = spawnSync('python3', ['-c', TYPIST, JSON.stringify(command), JSON.stringify(script)], { encoding: 'utf8' })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as { code: number; screen: string }
}
