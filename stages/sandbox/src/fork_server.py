# The fork server: a Python interpreter that has started, and forks for every program.
#
# Run by `fork_server.rs` with all layers of a judged program already on it; descriptor 0 is
# a packet socket to the container's init. Each request becomes a process whose parent is
# init, which then looks like a fresh `python3 -s -B main.py`: own session, limits, standard
# streams and `__main__`. What a forked process writes to, reference counts included, it has
# to copy page by page: that is its cost, and why as little as possible happens in it.
import _socket, atexit, ctypes, gc, io, os, resource, sys

# What contest programs import most; a cold start would read these files again every time.
# Not threading, nor what imports it: it runs code of its own in every forked process.
import array, bisect, collections, copy, decimal, fractions, functools, heapq, itertools
import math, operator, random, re, statistics, string, time, typing

MAX_MESSAGE = 96 << 10
DESCRIPTORS = 4
SET_DUMPABLE = 4
GET_TID_ADDRESS = 40
CLONE = 56  # x86-64
CLONE_PARENT = 0x8000
CLONE_CHILD_TID = 0x0120_0000  # set it, and clear it at the end
SIGCHLD = 17
LIMITS = (
    resource.RLIMIT_CPU,
    resource.RLIMIT_AS,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
)


def standard_stream(descriptor, mode, like, line_buffering):
    """A text stream as the interpreter makes at its start."""
    binary = open(descriptor, mode + "b", closefd=False)
    binary.raw.name = like.name
    stream = io.TextIOWrapper(
        binary, like.encoding, like.errors, "\n", line_buffering=line_buffering
    )
    stream.mode = mode
    return stream


# A program that uses what programs use: what an interpreter makes when that is used first
# is then made once, here, and not in every process.
REHEARSAL = """
import collections, io, math, sys
class Node:
    def __init__(self, value=0, *rest, **named):
        self.value = value
    def __lt__(self, other):
        return self.value < other.value
def solve(numbers, memo={}):
    global total
    total = 0
    for place, number in enumerate(numbers):
        total += number % 1_000_000_007
        if place in memo and number > 3 or not place:
            continue
        memo[place] = lambda x: x * number
    while total > 10 ** 9:
        total //= 2
    try:
        raise ValueError(total)
    except (ValueError, KeyError) as error:
        str(error)
    return [x ** 2 for x in numbers if x], {x for x in numbers}, sum(x for x in numbers)
lines = io.TextIOWrapper(io.BytesIO(b"3 4.5\\nabc\\n"))
first, *rest = map(float, lines.readline().split())
text = lines.read().strip()
solve(list(range(40)) + [int("12"), 2 ** 70])
nodes = sorted((Node(x) for x in (3, 1, 2)), reverse=True)
nodes.sort(key=lambda node: -node.value)
counted = collections.defaultdict(list)
counted[text[::-1]].append(f"{first:.3f} %d" % 3)
out = io.TextIOWrapper(io.BytesIO())
print(*rest, math.gcd(4, 6), text.upper(), sep=" ", end="\\n", file=out)
out.write(",".join(map(str, nodes and [True, None, 1.5, b"x", (1, 2)])))
out.flush()
if __name__ == "nobody":
    input()
"""


def serve(prctl, fork, hidden):
    """Forks for every request; returns in the processes that are to be programs."""
    # Programs share this user: they must not look into this process.
    prctl(SET_DUMPABLE, 0, 0, 0, 0)
    control = _socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    exec(compile(REHEARSAL, "<rehearsal>", "exec", dont_inherit=True), {"__name__": "rehearsal"})
    for descriptor, mode in enumerate("rww"):
        standard_stream(descriptor, mode, sys.stdin, False)
    # A program that wants one of these gets it as after a cold start.
    for name in hidden:
        del sys.modules[name]
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    while True:
        message, parts, _, _ = control.recvmsg(MAX_MESSAGE, _socket.CMSG_SPACE(4 * DESCRIPTORS))
        if not message:
            os._exit(0)
        descriptors = array.array("i", parts[0][2][: 4 * DESCRIPTORS])
        reader, writer = os.pipe()
        pid = fork()
        if pid:
            for descriptor in (reader, *descriptors):
                os.close(descriptor)
            control.send(b"%d" % pid)
            os.close(writer)
            continue
        # Not before the server is done with this request: the program may stop it.
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        control.close()
        become(message, descriptors)
        prctl(SET_DUMPABLE, 1, 0, 0, 0)
        return


def forking():
    """A function that forks as `os.fork` does, but for init: its child, not this process's."""
    tid_address = ctypes.c_void_p()
    known = libc.prctl(GET_TID_ADDRESS, ctypes.byref(tid_address), 0, 0, 0) == 0
    flags = CLONE_PARENT | SIGCHLD | (CLONE_CHILD_TID if known else 0)
    arguments = [ctypes.c_long(n) for n in (CLONE, flags, 0, 0, tid_address.value or 0, 0)]
    syscall, python = libc.syscall, ctypes.pythonapi
    before, parent, child = (
        python.PyOS_BeforeFork,
        python.PyOS_AfterFork_Parent,
        python.PyOS_AfterFork_Child,
    )

    def fork():
        before()
        pid = syscall(*arguments)
        if pid == 0:
            child()
        else:
            parent()
        if pid < 0:
            os._exit(1)
        return pid

    return fork


def become(message, descriptors):
    """Turns a forked process into a program about to start."""
    folder, *rest = message.split(b"\0")
    values, arguments = rest[: len(LIMITS)], rest[len(LIMITS) :]
    if len(descriptors) == DESCRIPTORS:
        # A control group counts this process from here on.
        group = descriptors.pop()
        os.write(group, b"0")
        os.close(group)
    os.setsid()
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(folder)
    sys.argv = [os.fsdecode(argument) for argument in arguments]
    sys.path[0] = os.fsdecode(folder)
    sys.stdin = sys.__stdin__ = standard_stream(0, "r", sys.stdin, False)
    sys.stdout = sys.__stdout__ = standard_stream(1, "w", sys.stdout, False)
    sys.stderr = sys.__stderr__ = standard_stream(2, "w", sys.stderr, True)
    for limit, value in zip(LIMITS, values):
        resource.setrlimit(limit, (int(value), int(value)))


def status_of(exit):
    """The exit status that SystemExit stands for; its words go to stderr."""
    if exit.code is None:
        return 0
    if isinstance(exit.code, int):
        return exit.code & 0xFF
    print(exit.code, file=sys.stderr)
    return 1


def flush(status):
    """Flushes the streams; an output that is lost is an error, as in a cold interpreter."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except BaseException:
            if stream is sys.stdout:
                status = status or 120
    return status


def run():
    """Runs the program as `__main__`, a fresh module.

    The interpreter's own way out would take all the modules apart that were here before,
    which costs more than most programs: what of it can be seen is done by hand.
    """
    if sys.argv[0] == "-c":
        source, path, own = os.fsencode(sys.argv.pop(1)), "<string>", {}
    else:
        path = os.path.join(sys.path[0], sys.argv[0])
        with open(path, "rb") as file:
            source = file.read()
        own = {"__file__": path, "__cached__": None}
    server = sys.modules["__main__"].__dict__
    module = type(sys)("__main__")
    main = module.__dict__
    kept = ("__doc__", "__package__", "__loader__", "__spec__", "__builtins__")
    main.update({name: server[name] for name in kept}, **own, __annotations__={})
    sys.modules["__main__"] = module
    status = 0
    try:
        exec(compile(source, path, "exec", dont_inherit=True), main)
    except SystemExit as exit:
        status = status_of(exit)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__.tb_next)
        status = 1
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    status = flush(status)
    main.clear()
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    # Only of the program's own objects: the server's are frozen.
    gc.collect()
    os._exit(flush(status))


HIDDEN = {name: sys.modules[name] for name in ("_socket", "ctypes", "_ctypes", "resource")}
libc = ctypes.PyDLL(None)
serve(libc.prctl, forking(), HIDDEN)
run()
