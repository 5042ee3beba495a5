----------------------------- MODULE Freshness -----------------------------
(* One worker, one heartbeat, two copies of the data: how long may a worker go on
   after the last beat, when the store fails over, loses writes, and old data comes
   back, and when the server's clock says what it likes?

   Two copies that anybody may talk to at any time, and that may overwrite each other
   at any time, are every failover, split and restore at once. Whoever is
   connected to a copy while it is overwritten loses the connection: attending is a
   write, so a replica refuses it.

   Beats are known by their order only: after each step the counts are renumbered
   without gaps, which keeps the state space finite for runs of any length.

   As built: core/view.py (reconnected, _arm, _cold), core/freshness.py (observe,
   take, deadline), core/pulse.py (overdue, answer).

   Left out, because leaving it out allows more: the lease and the PTTL (Lease.tla; the
   key lives here for ever), the tombstone, timeout_ms. Beats execute at once: a beat's
   age counts from its execution in the store.                                       *)
EXTENDS Integers, FiniteSets

CONSTANTS
  BEAT,  \* beat_ms in ticks
  TTL,   \* ttl_ms in ticks: a heartbeat without a successful beat for so long is done
  Drop   \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  active,    \* per copy: golive:active is there
  n,         \* per copy: count of the beat it shows
  beatAge,   \* ticks since the newest beat of all executed
  ended,     \* the heartbeat was without a successful beat for ttl_ms
  link,      \* the copy that the worker is connected to; 0 none
  request,   \* the one outstanding question, and its answer once executed
  seen,      \* Progress.n: the highest count ever seen; None before the first
  shown,     \* Progress.shown_n: the count that this connection showed last, or None
  shownAge,  \* ticks since Progress.shown_at
  freshAge,  \* ticks since Progress.fresh_from, which is `p`; Stale for none
  armed      \* the last answer gave a deadline: p + beat_ms

vars == <<active, n, beatAge, ended, link, request, seen, shown, shownAge, freshAge, armed>>

Holds(rule) == rule \notin Drop
Min(a, b) == IF a < b THEN a ELSE b
Copies == {1, 2}
None == -1
Stale == BEAT                      \* a `p` of this age permits nothing any more
Older(age) == Min(age + 1, Stale)
Silent == [step |-> "none", age |-> 0, active |-> FALSE, n |-> None]

\* The counts that matter, renumbered from 1 in their order.
Counts == {n[1], n[2], request.n, seen, shown} \ {None}
Newest == CHOOSE x \in Counts : \A y \in Counts : y <= x
Rank(x) == IF x = None THEN None ELSE Cardinality({y \in Counts : y <= x})

Init ==
  /\ active = [c \in Copies |-> c = 1] /\ n = [c \in Copies |-> 0]
  /\ beatAge = 0 /\ ended = FALSE /\ link = 1 /\ request = Silent
  /\ seen = None /\ shown = None /\ shownAge = Stale /\ freshAge = Stale /\ armed = FALSE

Worker == <<link, request, seen, shown, shownAge, freshAge, armed>>
View == <<seen, shown, shownAge, freshAge, armed>>

Tick ==
  /\ beatAge' = Min(beatAge + 1, TTL)
  /\ ended' = (ended \/ beatAge' = TTL)
  /\ request' = IF request.step = "none" THEN Silent ELSE [request EXCEPT !.age = Older(@)]
  /\ shownAge' = Older(shownAge)
  /\ freshAge' = IF Holds("S5 beat clamp") THEN Older(freshAge) ELSE freshAge
  /\ UNCHANGED <<active, n, link, seen, shown, armed>>

-----------------------------------------------------------------------------
\* the store and the heartbeat

\* A new count is above every other. S12: silent for ttl_ms is silent for good.
Beat(c) ==
  /\ active[c] /\ (Holds("S12 silence latches") => ~ended)
  /\ n' = [n EXCEPT ![c] = Newest + 1] /\ beatAge' = 0
  /\ UNCHANGED <<active, ended, Worker>>

Remove(c) ==
  /\ active[c] /\ active' = [active EXCEPT ![c] = FALSE]
  /\ UNCHANGED <<n, beatAge, ended, Worker>>

\* Copy `c` becomes what the other is: replication, failover, the old primary's return.
Overwrite(c) ==
  LET other == 3 - c
      cut == link = c /\ Holds("attending is a write")
  IN /\ active' = [active EXCEPT ![c] = active[other]] /\ n' = [n EXCEPT ![c] = n[other]]
     /\ link' = (IF cut THEN 0 ELSE link)
     /\ request' = (IF cut THEN Silent ELSE request)
     /\ UNCHANGED <<beatAge, ended, View>>

-----------------------------------------------------------------------------
\* the worker

\* A reconnect keeps `p` and the deadline, and starts the older/newer pair anew.
Connect(c) ==
  /\ link # c /\ link' = c /\ request' = Silent
  /\ shown' = IF Holds("S5 pair on one connection") THEN None ELSE shown
  /\ UNCHANGED <<active, n, beatAge, ended, seen, shownAge, freshAge, armed>>

Restart ==
  /\ link' = 0 /\ request' = Silent /\ seen' = None /\ shown' = None
  /\ shownAge' = Stale /\ freshAge' = Stale /\ armed' = FALSE
  /\ UNCHANGED <<active, n, beatAge, ended>>

Ask ==
  /\ link # 0 /\ request.step = "none" /\ request' = [Silent EXCEPT !.step = "sent"]
  /\ UNCHANGED <<active, n, beatAge, ended, link, View>>

Execute ==
  /\ request.step = "sent"
  /\ request' = [request EXCEPT !.step = "executed", !.active = active[link], !.n = n[link]]
  /\ UNCHANGED <<active, n, beatAge, ended, link, View>>

\* No answer in time: the link is dropped (S8).
GiveUp ==
  /\ request.step # "none" /\ request' = Silent /\ link' = 0
  /\ UNCHANGED <<active, n, beatAge, ended, View>>

\* Absent, or anything else that makes a guard COLD (a clock anomaly, a refused record).
Cold ==
  /\ shown' = None /\ shownAge' = Stale /\ freshAge' = Stale /\ armed' = FALSE
  /\ UNCHANGED seen

\* core.freshness.observe, then _arm.
Observe ==
  LET first == seen = None \/ shown = None
      advanced == ~first /\ request.n # shown
      anchor == CASE advanced /\ Holds("S5 anchor at the older") -> shownAge
                  [] advanced -> request.age
                  [] first /\ ~Holds("S5 seen to advance") -> request.age
                  [] OTHER -> Stale
  IN IF seen # None /\ request.n < seen
     THEN /\ armed' = (freshAge # Stale \/ armed)    \* a replay is no beat: p stays
          /\ UNCHANGED <<seen, shown, shownAge, freshAge>>
     ELSE /\ seen' = request.n /\ shown' = request.n /\ shownAge' = request.age
          /\ freshAge' = Min(freshAge, anchor)
          /\ armed' = (freshAge' # Stale)

Receive ==
  /\ request.step = "executed" /\ request' = Silent
  /\ IF request.active THEN Observe ELSE Cold
  /\ UNCHANGED <<active, n, beatAge, ended, link>>

Anomaly ==
  /\ request' = Silent /\ Cold /\ UNCHANGED <<active, n, beatAge, ended, link>>

Step ==
  \/ Tick \/ Restart \/ Ask \/ Execute \/ GiveUp \/ Receive \/ Anomaly
  \/ \E c \in Copies : Beat(c) \/ Remove(c) \/ Overwrite(c) \/ Connect(c)

\* Renumber after each step: TLC sees only the ranks.
Ranked == <<active, <<Rank(n[1]), Rank(n[2])>>, beatAge, ended, link,
            [request EXCEPT !.n = Rank(@)], Rank(seen), Rank(shown), shownAge, freshAge, armed>>

Spec == Init /\ [][Step]_vars

-----------------------------------------------------------------------------
\* what must hold

Permits == armed /\ freshAge < Stale

\* No permit beat_ms after the newest beat executed, wherever that was.
BeatBound == Permits => beatAge < BEAT
\* A term that nobody beat for during ttl_ms never permits again.
TermIsOver == ended => ~Permits

\* Witnesses: each must be refuted, or the model does nothing.
NeverPermits == ~Permits
NeverPermitsOnTheOtherCopy == ~(Permits /\ link = 2 /\ shown # None /\ n[2] > n[1])
NeverPermitsUpToTheBound == ~(Permits /\ beatAge = BEAT - 1)
NeverAfterAReplay == ~(Permits /\ request.step = "executed" /\ request.n < seen)
=============================================================================
