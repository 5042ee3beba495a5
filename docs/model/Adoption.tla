------------------------------ MODULE Adoption ------------------------------
(* A grant that waits for a second person: who must have signed it, when, and what the
   heartbeat, at the door, still asks of it (S13, four eyes).

   One grant, three approvers, one of them with the authority of risk, one of them
   (Mallory) with a client that follows no rule. Whoever owns Redis shows the heartbeat the
   grant whenever they like, with the execution or without it, and hides every stop for as
   long as they like. What they cannot do is sign.

   The heartbeat has seen that the key was absent: the other half of S13 is Stop.tla's
   business. Days begin at any time, which allows more.

   As built: core/adoption.py, core/pulse.py (_adopt), records/trust.py (grant),
   operator/proposals.py (what an approver's own client asks).                        *)
EXTENDS Integers, FiniteSets

CONSTANTS
  Approvers, Mallory, Risk,
  THRESHOLD,  \* signatures that an activation takes
  FRESH,      \* ticks in which a decision counts as of now: 60 s
  WINDOW,     \* ticks in which a proposal waits for its approvers: 10 min
  COOL,       \* ticks between a stop and the next activation
  DAILY,      \* activations a day
  Drop        \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  grant,  \* age (None before it is signed), signed (by whom), execution (its age, or None), lag
          \* (how old the grant was when that was signed), stopped (a stop came after it)
  hb,     \* on, latched (the grant is over for it), stop (ticks since the last that it knows of, or None),
          \* risk (that one was by somebody with the authority of risk), today (activations)
  last    \* what was so when it adopted the grant last, or Nothing

vars == <<grant, hb, last>>

Holds(rule) == rule \notin Drop
None == -1
Long == WINDOW + FRESH + 2
Older(age) == IF age = None THEN None ELSE IF age < Long THEN age + 1 ELSE Long
Nothing == [signed |-> Approvers, age |-> 0, act |-> 0, stop |-> None, risk |-> FALSE, today |-> 0,
            latched |-> FALSE]
Empty == [on |-> FALSE, latched |-> FALSE, stop |-> None, risk |-> FALSE, today |-> 0]

Init ==
  /\ grant = [age |-> None, signed |-> {}, execution |-> None, lag |-> 0, stopped |-> FALSE]
  /\ hb = Empty /\ last = Nothing

Tick ==
  /\ grant' = [grant EXCEPT !.age = Older(@), !.execution = Older(@)]
  /\ hb' = [hb EXCEPT !.stop = Older(@)]
  /\ UNCHANGED last

\* A day begins, and other terms come and go in it.
Day == \E n \in 0..DAILY : hb' = [hb EXCEPT !.today = n] /\ UNCHANGED <<grant, last>>

-----------------------------------------------------------------------------
\* people

Propose(p) ==
  /\ grant.age = None
  /\ grant' = [grant EXCEPT !.age = 0, !.signed = {p}]
  /\ UNCHANGED <<hb, last>>

\* An honest client signs what still waits, after its owner has read it.
Approve(p) ==
  /\ grant.age # None /\ p \notin grant.signed
  /\ p # Mallory => grant.age <= WINDOW
  /\ grant' = [grant EXCEPT !.signed = @ \cup {p}]
  /\ UNCHANGED <<hb, last>>

\* The last signature runs the preflight again and seals the execution.
Execute(p) ==
  /\ grant.age # None /\ p \in grant.signed
  /\ p # Mallory => grant.age <= WINDOW /\ Cardinality(grant.signed) >= THRESHOLD
  /\ grant' = [grant EXCEPT !.execution = 0, !.lag = grant.age]
  /\ UNCHANGED <<hb, last>>

\* The heartbeat hears of it at once, or never: an owner of Redis may hide it.
Stop(known, risk) ==
  /\ grant' = [grant EXCEPT !.stopped = (grant.age # None)]
  /\ hb' = IF known
           THEN [hb EXCEPT !.on = FALSE, !.stop = 0, !.risk = risk,
                           !.latched = @ \/ (grant.age # None)]
           ELSE hb
  /\ UNCHANGED last

-----------------------------------------------------------------------------
\* the heartbeat

Signed == Cardinality(grant.signed)
Enough == Signed >= THRESHOLD \/ ~Holds("S1 threshold")
\* One signature more than it takes lifts what is there against haste.
More == Signed > THRESHOLD

Fresh(executed) ==
  \/ grant.age < FRESH
  \/ /\ executed
     /\ grant.execution < FRESH \/ ~Holds("S13 fresh execution")
     /\ grant.lag <= WINDOW \/ ~Holds("S13 within ten minutes")

Cool == hb.stop = None \/ hb.stop >= COOL \/ More \/ ~Holds("D2 cool-down")
Few == hb.today < DAILY \/ More \/ ~Holds("D3 daily limit")
Agreed == ~hb.risk \/ Risk \in grant.signed \/ ~Holds("D4 risk agrees")

Adopt(executed) ==
  /\ ~hb.on /\ grant.age # None
  /\ executed => grant.execution # None
  /\ ~hb.latched \/ ~Holds("S12 latch")
  /\ Enough /\ Fresh(executed) /\ Cool /\ Few /\ Agreed
  /\ hb' = [hb EXCEPT !.on = TRUE, !.today = IF @ < DAILY + 1 THEN @ + 1 ELSE @]
  /\ last' = [signed |-> grant.signed, age |-> grant.age,
              act |-> IF executed /\ grant.execution < grant.age THEN grant.execution ELSE grant.age,
              stop |-> hb.stop, risk |-> hb.risk, today |-> hb.today, latched |-> hb.latched]
  /\ UNCHANGED grant

\* The key is absent again: it expired, or was removed.
Lapse ==
  /\ hb.on /\ hb' = [hb EXCEPT !.on = FALSE, !.latched = TRUE]
  /\ UNCHANGED <<grant, last>>

LoseDisk ==
  /\ hb # Empty /\ hb' = Empty
  /\ UNCHANGED <<grant, last>>

Next ==
  \/ Tick \/ Day \/ Lapse \/ LoseDisk
  \/ \E p \in Approvers : Propose(p) \/ Approve(p) \/ Execute(p)
  \/ \E known, risk \in BOOLEAN : Stop(known, risk)
  \/ \E executed \in BOOLEAN : Adopt(executed)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* what must hold of every adoption

\* No single person starts a fleet.
TwoPeople == Cardinality(last.signed) >= THRESHOLD
\* Somebody who may has decided it now, and not when Redis was copied.
DecidedNow == last.act < FRESH
\* What two signed in the morning is not executed in the afternoon.
WithinTheWindow == last.age < WINDOW + FRESH
CoolDown == last.stop = None \/ last.stop >= COOL \/ Cardinality(last.signed) > THRESHOLD
DailyLimit == last.today < DAILY \/ Cardinality(last.signed) > THRESHOLD
RiskAgrees == ~last.risk \/ Risk \in last.signed
\* What a stop has ended for this heartbeat does not come back.
StopHolds == ~last.latched

\* Witnesses: each must be refuted, or the model does nothing.
NeverAdopts == ~hb.on
NeverAfterAWait == ~(hb.on /\ last.age > FRESH)
NeverSoonAfterAStop == ~(hb.on /\ last.stop # None /\ last.stop < COOL)
NeverTheStopOfRisk == ~(hb.on /\ last.risk)
=============================================================================
