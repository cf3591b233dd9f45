# The fork server: a Python interpreter that has started, and forks for every program.
#
# Run by `fork_server.rs` with all layers of a judged program already on it; descriptor 0 is
# a packet socket to the container's init. Each request becomes a process whose parent is
# init (forked twice, the one in between ends at once), which then looks like a fresh
# `python3 -s -B main.py`: own session, limits, standard streams and `__main__`.
import _socket, atexit, ctypes, gc, io, os, resource, sys

# What contest programs import most; a cold start would read these files again every time.
import array, bisect, collections, copy, decimal, fractions, functools, heapq, itertools
import math, operator, queue, random, re, statistics, string, time, typing

MAX_MESSAGE = 96 << 10
DESCRIPTORS = 4
SET_DUMPABLE = 4
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


def serve():
    """Forks for every request; returns in the processes that are to be programs."""
    prctl = ctypes.CDLL(None).prctl
    # Programs share this user: they must not look into this process.
    prctl(SET_DUMPABLE, 0, 0, 0, 0)
    control = _socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    while True:
        message, parts, _, _ = control.recvmsg(MAX_MESSAGE, _socket.CMSG_SPACE(4 * DESCRIPTORS))
        if not message:
            os._exit(0)
        descriptors = array.array("i", parts[0][2][: 4 * DESCRIPTORS])
        reader, writer = os.pipe()
        between = os.fork()
        if between:
            for descriptor in (reader, *descriptors):
                os.close(descriptor)
            os.waitpid(between, 0)
            os.close(writer)
            continue
        if os.fork():
            os._exit(0)
        # Not before the server is done with this request: the program may stop it.
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        become(control, message, descriptors)
        prctl(SET_DUMPABLE, 1, 0, 0, 0)
        return


def become(control, message, descriptors):
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
    control.send(b"%d" % os.getpid())
    control.close()
    for limit, value in zip(LIMITS, values):
        resource.setrlimit(limit, (int(value), int(value)))


def status_of(exit, sys=sys):
    """The exit status that SystemExit stands for; its words go to stderr."""
    if exit.code is None:
        return 0
    if isinstance(exit.code, int):
        return exit.code & 0xFF
    print(exit.code, file=sys.stderr)
    return 1


def flush(status, sys=sys):
    """Flushes the streams; an output that is lost is an error, as in a cold interpreter."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except BaseException:
            if stream is sys.stdout:
                status = status or 120
    return status


def run(atexit=atexit, flush=flush, gc=gc, os=os, status_of=status_of, sys=sys):
    """Runs the program as `__main__`, whose names become those of a fresh module.

    The interpreter's own way out would take all the modules apart that were here before,
    which costs more than most programs: what of it can be seen is done by hand. (Names
    are arguments because those of this file are gone.)
    """
    if sys.argv[0] == "-c":
        source, path, own = os.fsencode(sys.argv.pop(1)), "<string>", {}
    else:
        path = os.path.join(sys.path[0], sys.argv[0])
        with open(path, "rb") as file:
            source = file.read()
        own = {"__file__": path, "__cached__": None}
    for name in ("_socket", "ctypes", "_ctypes", "resource"):
        sys.modules.pop(name, None)
    main = sys.modules["__main__"].__dict__
    kept = ("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__builtins__")
    own.update({name: main[name] for name in kept}, __annotations__={})
    main.clear()
    main.update(own)
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


serve()
run()
