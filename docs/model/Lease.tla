------------------------------- MODULE Lease -------------------------------
(* One worker, one primary: how long may an order still be accepted after the
   key was revoked, removed, shortened or made permanent, and after the window?

   Every time is relative: ages that saturate, lives that count down. So the state
   space is finite and what TLC finds holds for runs of any length.

   As built: core/view.py (answer, _judge, _arm), core/freshness.py
   (deadline), core/decision.py (the clock is compared at the call),
   store/lua/attend.lua, beat.lua, revoke.lua.

   Left out, because leaving it out allows more: beats (Freshness.tla), timeout_ms
   (an answer of any age is taken here), pushes that are lost, the worker's own
   restart (it starts without a deadline).                                       *)
EXTENDS Integers

CONSTANTS
  LEASE,  \* lease_ms in ticks
  TTL,    \* ttl_ms in ticks
  WINDOW, \* ticks before not_after at which the clock of the window is started
  Drop    \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  key,      \* remaining life of golive:active on the server; 0 absent, Pinned without TTL
  tomb,     \* the tombstone stands
  revAge,   \* ticks since the revocation executed, Never before
  cutAge,   \* ticks since anything took life from the key out of turn, or pinned it
  window,   \* ticks until not_after, Open while it is far away
  request,  \* the one outstanding question, and its answer once executed
  latched,  \* the worker has latched
  deadline, \* ticks until the worker's deadline; 0 closed
  order,    \* ticks until the `until` of the permit of the order in flight, NoOrder
  bad       \* what the acceptor took that it should never have seen

vars == <<key, tomb, revAge, cutAge, window, request, latched, deadline, order, bad>>

Holds(rule) == rule \notin Drop
Min(a, b) == IF a < b THEN a ELSE b
Max(a, b) == IF a > b THEN a ELSE b
Dec(x) == IF x > 0 THEN x - 1 ELSE 0

Pinned == TTL + 1
Never == -1
NoOrder == -1
Open == WINDOW + 1
Long == LEASE + 2                 \* an age beyond which nothing changes any more
Older(age) == IF age = Never THEN Never ELSE Min(age + 1, Long)
Silent == [step |-> "none", age |-> 0, key |-> 0, tomb |-> FALSE, mine |-> TRUE]

Init ==
  /\ key = 0 /\ tomb = FALSE /\ revAge = Never /\ cutAge = Long /\ window = Open
  /\ request = Silent /\ latched = FALSE /\ deadline = 0 /\ order = NoOrder /\ bad = {}

Tick ==
  /\ key' = IF key = Pinned THEN Pinned ELSE Dec(key)
  /\ revAge' = Older(revAge) /\ cutAge' = Older(cutAge)
  /\ window' = IF window = Open THEN Open ELSE Dec(window)
  /\ request' = IF request.step = "none" THEN Silent
                ELSE [request EXCEPT !.age = Min(@ + 1, Long)]
  \* S7: the deadline is compared with a clock at the call. Without that rule it holds
  \* until some thread comes along and closes.
  /\ deadline' = IF Holds("S7 clock at the call") THEN Dec(deadline) ELSE deadline
  /\ order' = IF order = NoOrder THEN NoOrder ELSE Dec(order)
  /\ UNCHANGED <<tomb, latched, bad>>

ThreadCloses ==
  /\ ~Holds("S7 clock at the call") /\ deadline > 0 /\ deadline' = 0
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, request, latched, order, bad>>

-----------------------------------------------------------------------------
\* the server


Activate ==
  /\ key = 0 /\ ~tomb /\ window > 0 /\ key' = TTL
  /\ UNCHANGED <<tomb, revAge, cutAge, window, request, latched, deadline, order, bad>>

\* beat.lua: renews the TTL, creates nothing, leaves alone what it did not set.
Beat ==
  /\ 0 < key /\ key < TTL /\ ~tomb /\ key' = TTL
  /\ UNCHANGED <<tomb, revAge, cutAge, window, request, latched, deadline, order, bad>>

Revoke ==
  /\ ~tomb /\ tomb' = TRUE /\ key' = 0 /\ revAge' = 0 /\ cutAge' = 0
  /\ UNCHANGED <<window, request, latched, deadline, order, bad>>

\* Somebody with write access: DEL or PEXPIRE, PERSIST, and the key put back (RENAME,
\* RESTORE) while the tombstone stands.
Shorten ==
  /\ key > 0 /\ key' \in 0..LEASE /\ key' < key /\ cutAge' = 0
  /\ UNCHANGED <<tomb, revAge, window, request, latched, deadline, order, bad>>
Persist ==
  /\ 0 < key /\ key < Pinned /\ key' = Pinned /\ cutAge' = 0
  /\ UNCHANGED <<tomb, revAge, window, request, latched, deadline, order, bad>>
PutBack ==
  /\ tomb /\ key = 0 /\ key' = TTL
  /\ UNCHANGED <<tomb, revAge, cutAge, window, request, latched, deadline, order, bad>>

WindowNears ==
  /\ window = Open /\ window' = WINDOW
  /\ UNCHANGED <<key, tomb, revAge, cutAge, request, latched, deadline, order, bad>>

-----------------------------------------------------------------------------
\* the worker


Ask ==
  /\ request.step = "none" /\ request' = [Silent EXCEPT !.step = "sent"]
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, latched, deadline, order, bad>>

Execute ==
  /\ request.step = "sent"
  /\ request' = [request EXCEPT !.step = "executed", !.key = key, !.tomb = tomb]
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, latched, deadline, order, bad>>

\* The question is given up and its connection with it. Nothing else changes.
GiveUp ==
  /\ request.step # "none" /\ request' = Silent
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, latched, deadline, order, bad>>

\* Replies off by one: the next question finds the answer to this one (row 8 of docs/explanation/faults.md).
OffByOne ==
  /\ request.step = "executed" /\ request' = [request EXCEPT !.age = 0, !.mine = FALSE]
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, latched, deadline, order, bad>>

\* S5, as `core.freshness.deadline` computes it; the beat's term is Freshness.tla's business.
\* (1 - rho) of a life, measured by a clock that runs slow by rho, is at most that life:
\* without the factor it is a tick more.
Slow(life) == IF Holds("S5 slow clock") THEN life ELSE life + 1
LastMoment ==
  LET since == IF Holds("S5 send instant") THEN request.age ELSE 0
      lease == Slow(LEASE) - since
      life == IF Holds("S5 PTTL clamp") /\ request.key # Pinned
              THEN Slow(request.key) - since ELSE lease
      end == IF Holds("S5 window clamp") /\ window # Open THEN window ELSE lease
  IN Max(0, Min(Min(lease, life), end))

Receive ==
  /\ request.step = "executed" /\ request' = Silent
  /\ LET stopped == request.tomb /\ Holds("S1 tombstone first")
         inWindow == window > 0
         valid == request.key # Pinned \/ ~Holds("S6 TTL")
     IN IF ~request.mine /\ Holds("S8 nonce")
        THEN deadline' = 0 /\ UNCHANGED latched
        ELSE /\ latched' = (latched \/ stopped)
             /\ deadline' = IF latched' \/ request.key = 0 \/ ~inWindow \/ ~valid
                            THEN 0 ELSE LastMoment
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, order, bad>>

PushOfRevocation ==
  /\ tomb /\ ~latched /\ latched' = TRUE /\ deadline' = 0
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, request, order, bad>>

\* Anybody may publish the grant again. S10: no push opens.
PushOfGrant ==
  /\ ~Holds("S10 push never opens") /\ ~latched /\ window > 0
  /\ deadline' = Min(LEASE, IF window = Open THEN LEASE ELSE window)
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, request, latched, order, bad>>

Send ==
  /\ order = NoOrder /\ deadline > 0 /\ order' = deadline
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, request, latched, deadline, bad>>

\* The acceptor compares the permit's `until` with its own clock.
Accept ==
  /\ order # NoOrder /\ (order > 0 \/ ~Holds("fence")) /\ order' = NoOrder
  /\ bad' = bad
       \cup (IF revAge >= LEASE THEN {"after revoke"} ELSE {})
       \cup (IF key = 0 /\ cutAge >= LEASE THEN {"after expiry"} ELSE {})
       \cup (IF key = Pinned /\ cutAge >= LEASE THEN {"on a key without TTL"} ELSE {})
       \cup (IF window = 0 THEN {"after the window"} ELSE {})
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, request, latched, deadline>>

Lose ==
  /\ order # NoOrder /\ order' = NoOrder
  /\ UNCHANGED <<key, tomb, revAge, cutAge, window, request, latched, deadline, bad>>

Next ==
  \/ Tick \/ ThreadCloses
  \/ Activate \/ Beat \/ Revoke \/ Shorten \/ Persist \/ PutBack \/ WindowNears
  \/ Ask \/ Execute \/ GiveUp \/ OffByOne \/ Receive \/ PushOfRevocation \/ PushOfGrant
  \/ Send \/ Accept \/ Lose

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* what must hold


\* Nothing is accepted lease_ms after a revoke on this primary, whatever was pushed or lost.
RevokeBound == "after revoke" \notin bad
\* Nor once the key's life is over, except by what was read before somebody shortened it.
ExpiryBound == "after expiry" \notin bad
\* Nor lease_ms after somebody took its TTL away.
TtlBound == "on a key without TTL" \notin bad
\* Nor after not_after.
WindowBound == "after the window" \notin bad

\* Witnesses: each must be refuted, or the model does nothing.
NeverTrades == order = NoOrder
NeverStopsATrader == ~(latched /\ order > 0)
NeverTradesUpToTheBound == ~(order > 0 /\ revAge = LEASE - 1)
=============================================================================
