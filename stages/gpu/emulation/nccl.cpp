// NCCL as far as src/driver/cuda/nccl.rs calls it, between processes of one machine, for tests.
//
// Compiled into libnccl.so.2 of the tests. An id is a folder; ranks meet there over sockets and carry bytes at the end
// of a group, all at once. As with the real one, a call that waits for somebody who has gone stays under way for ever:
// `emulation_exchange_pending` tells it to the driver of the tests, whose stream is then never done.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace {
enum { OK = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4 };
struct Id {
    char folder[128];
};
struct Communicator {
    int rank;
    std::vector<int> peers;
};
struct Transfer {
    Communicator *of;
    int peer;
    bool sends;
    char *bytes;
    size_t left;
};
thread_local std::vector<Transfer> group;
thread_local int depth;
bool pending;

sockaddr_un place(const Id &id, int rank) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s/%d", id.folder, rank);
    return address;
}

bool all(int fd, void *bytes, size_t length, bool sends) {
    char *at = static_cast<char *>(bytes);
    while (length) {
        ssize_t done = sends ? write(fd, at, length) : read(fd, at, length);
        if (done <= 0) return false;
        at += done, length -= done;
    }
    return true;
}

int run() {
    while (!group.empty()) {
        std::vector<pollfd> wanted;
        std::vector<Transfer *> first;
        // Of every peer and direction the first; the others after it.
        for (Transfer &transfer : group) {
            bool earlier = false;
            for (Transfer *other : first) earlier |= other->peer == transfer.peer && other->sends == transfer.sends;
            if (earlier) continue;
            first.push_back(&transfer);
            wanted.push_back({transfer.of->peers[transfer.peer], short(transfer.sends ? POLLOUT : POLLIN), 0});
        }
        if (poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR) return SYSTEM_ERROR;
        for (size_t i = 0; i < first.size(); i++) {
            if (!wanted[i].revents) continue;
            Transfer &transfer = *first[i];
            ssize_t done = transfer.sends ? send(wanted[i].fd, transfer.bytes, transfer.left, MSG_DONTWAIT | MSG_NOSIGNAL)
                                          : recv(wanted[i].fd, transfer.bytes, transfer.left, MSG_DONTWAIT);
            if (done < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (done <= 0) return pending = true, group.clear(), OK;
            transfer.bytes += done, transfer.left -= done;
        }
        std::vector<Transfer> rest;
        for (Transfer &transfer : group)
            if (transfer.left) rest.push_back(transfer);
        group = rest;
    }
    return OK;
}

int add(Communicator *of, int peer, bool sends, void *bytes, size_t count, int type) {
    if (type != 7 || peer == of->rank || size_t(peer) >= of->peers.size() || !depth) return INVALID_ARGUMENT;
    return group.push_back({of, peer, sends, static_cast<char *>(bytes), 4 * count}), OK;
}
} // namespace

extern "C" {
int emulation_exchange_pending() { return pending; }

int ncclGetVersion(int *version) { return *version = 21805, OK; }
int ncclGetUniqueId(Id *id) {
    *id = {};
    std::strcpy(id->folder, "/tmp/iota-nccl-XXXXXX");
    return mkdtemp(id->folder) ? OK : SYSTEM_ERROR;
}
int ncclCommInitRank(Communicator **to, int size, Id id, int rank) {
    if (rank < 0 || rank >= size) return INVALID_ARGUMENT;
    auto *made = new Communicator{rank, std::vector<int>(size, -1)};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un own = place(id, rank);
    if (bind(listener, (sockaddr *)&own, sizeof own) || listen(listener, size)) return SYSTEM_ERROR;
    for (int lower = 0; lower < rank; lower++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un there = place(id, lower);
        while (connect(fd, (sockaddr *)&there, sizeof there)) usleep(1000);
        if (!all(fd, &rank, sizeof rank, true)) return SYSTEM_ERROR;
        made->peers[lower] = fd;
    }
    for (int higher = rank + 1; higher < size; higher++) {
        int fd = accept(listener, nullptr, nullptr), who = 0;
        if (!all(fd, &who, sizeof who, false) || who <= rank || who >= size) return SYSTEM_ERROR;
        made->peers[who] = fd;
    }
    close(listener);
    unlink(own.sun_path);
    rmdir(id.folder); // by whoever is the last
    return *to = made, OK;
}
int ncclCommDestroy(Communicator *which) {
    for (int fd : which->peers)
        if (fd >= 0) close(fd);
    return delete which, OK;
}
int ncclCommAbort(Communicator *which) { return pending = false, ncclCommDestroy(which); }
int ncclCommGetAsyncError(Communicator *, int *state) { return *state = OK; }
int ncclGroupStart() { return depth++, OK; }
int ncclGroupEnd() { return --depth ? OK : run(); }
int ncclSend(const void *from, size_t count, int type, int peer, Communicator *of, void *) { return add(of, peer, true, const_cast<void *>(from), count, type); }
int ncclRecv(void *to, size_t count, int type, int peer, Communicator *of, void *) { return add(of, peer, false, to, count, type); }
const char *ncclGetErrorString(int) { return "an error of the tests' NCCL"; }
const char *ncclGetLastError(Communicator *) { return ""; }
}
