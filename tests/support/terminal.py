"""Runs a program on a terminal of its own: python3 terminal.py COLUMNS LINES WANTED KEYS PROGRAM…

Waits until WANTED stands on the screen, presses KEYS and waits for the end. Prints {"status", "screen", "restored"}: the screen as it was
when the keys were pressed, and whether the program left the terminal's main screen and cursor behind. Understands what is needed for
that: text, cursor addresses, erasing all.
"""
import fcntl, json, os, pty, re, select, struct, sys, termios, time

columns, lines, wanted, keys, *program = sys.argv[1:]
COLUMNS, LINES = int(columns), int(lines)
PATIENCE = 45
TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()=>78].?|([\r\n])|([^\x1b\r\n])")

pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm-256color"
    os.execvp(program[0], program)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
before = termios.tcgetattr(terminal)[3]


def screen(text):
    grid, row, column = [[" "] * COLUMNS for _ in range(LINES)], 0, 0
    for parameters, order, move, character in TOKEN.findall(text):
        if order == "H":
            row, column = [int(number or 1) - 1 for number in (parameters.split(";") + ["", ""])[:2]]
        elif order == "J" and parameters == "2":
            grid = [[" "] * COLUMNS for _ in range(LINES)]
        elif move:
            row, column = (row, 0) if move == "\r" else (row + 1, column)
        elif character and row < LINES and column < COLUMNS:
            grid[row][column] = character
            column += 1
    return "\n".join("".join(line).rstrip() for line in grid)


read, seen, end = b"", "", time.monotonic() + PATIENCE
while time.monotonic() < end:
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            octets = os.read(terminal, 65536)
        except OSError:
            octets = b""
        if not octets:
            break
        read += octets
    if not seen and re.search(wanted, screen(read.decode(errors="replace"))):
        seen = screen(read.decode(errors="replace"))
        os.write(terminal, keys.encode())
if time.monotonic() >= end:
    os.kill(pid, 9)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
text = read.decode(errors="replace")
restored = text.rfind("\x1b[?1049l") > text.rfind("\x1b[?1049h") and text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
print(json.dumps({"status": status, "screen": seen or screen(text), "found": bool(seen), "restored": restored}))
