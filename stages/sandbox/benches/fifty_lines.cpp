#include <bits/stdc++.h>
using namespace std;

struct Edge {
    int to;
    long long weight;
};

struct Groups {
    vector<int> parent;
    explicit Groups(int n) : parent(n) { iota(parent.begin(), parent.end(), 0); }
    int find(int x) { return parent[x] == x ? x : parent[x] = find(parent[x]); }
    bool join(int a, int b) {
        a = find(a), b = find(b);
        if (a == b) return false;
        parent[a] = b;
        return true;
    }
};

int main() {
    ios::sync_with_stdio(false);
    cin.tie(nullptr);
    int n, m;
    cin >> n >> m;
    vector<vector<Edge>> graph(n);
    vector<tuple<long long, int, int>> edges;
    for (int i = 0; i < m; ++i) {
        int a, b;
        long long w;
        cin >> a >> b >> w;
        graph[a].push_back({b, w});
        graph[b].push_back({a, w});
        edges.emplace_back(w, a, b);
    }
    vector<long long> distance(n, LLONG_MAX);
    priority_queue<pair<long long, int>, vector<pair<long long, int>>, greater<>> queue;
    queue.emplace(distance[0] = 0, 0);
    while (!queue.empty()) {
        auto [d, at] = queue.top();
        queue.pop();
        if (d > distance[at]) continue;
        for (auto &[to, weight] : graph[at])
            if (d + weight < distance[to]) queue.emplace(distance[to] = d + weight, to);
    }
    sort(edges.begin(), edges.end());
    Groups groups(n);
    long long total = 0;
    for (auto &[w, a, b] : edges) total += groups.join(a, b) ? w : 0;
    map<long long, int> seen;
    for (long long d : distance) ++seen[d];
    cout << total << ' ' << seen.size() << ' ' << distance[n - 1] << '\n';
}
