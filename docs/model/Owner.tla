------------------------------- MODULE Owner -------------------------------
(* Whoever owns Redis alone, without any key, and has recorded every beat: how long
   can they keep a worker going after the last beat was signed?

   The owner answers each question with whatever recorded beat they like. What they
   cannot do is sign, so every record shown is genuine; its age is known here by its
   issued_at_ms, and a higher count never has an earlier one.

   As built: core/freshness.py (take, observe),
   records/beat.py (ISSUED_TOLERANCE_MS).
   Assumed: the worker's wall clock is right; what it is wrong by adds to the bound. *)
EXTENDS Integers

CONSTANTS
  BEAT,       \* beat_ms in ticks
  TOLERANCE,  \* ISSUED_TOLERANCE_MS in ticks
  Drop        \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  lastAge,   \* ticks since the last beat was signed
  request,   \* the outstanding question; the age of the beat in its answer
  seenAge,   \* age of the newest beat that the worker has seen; None before the first
  shownAge,  \* ticks since the last question whose answer showed that beat or an older one
  freshAge,  \* ticks since `p`; Stale for none
  armed

vars == <<lastAge, request, seenAge, shownAge, freshAge, armed>>

Holds(rule) == rule \notin Drop
Min(a, b) == IF a < b THEN a ELSE b
None == -1
Stale == BEAT
Long == TOLERANCE + BEAT + 2
Older(age, most) == IF age = None THEN None ELSE Min(age + 1, most)
Silent == [step |-> "none", age |-> 0, beat |-> None]

Init ==
  /\ lastAge = 0 /\ request = Silent /\ seenAge = None
  /\ shownAge = Stale /\ freshAge = Stale /\ armed = FALSE

Tick ==
  /\ lastAge' = Older(lastAge, Long) /\ seenAge' = Older(seenAge, Long)
  /\ shownAge' = Older(shownAge, Stale) /\ freshAge' = Older(freshAge, Stale)
  /\ request' = IF request.step = "none" THEN Silent
                ELSE [request EXCEPT !.age = Min(@ + 1, Long), !.beat = Older(@, Long)]
  /\ UNCHANGED armed

Sign == lastAge' = 0 /\ UNCHANGED <<request, seenAge, shownAge, freshAge, armed>>

Ask ==
  /\ request.step = "none" /\ request' = [Silent EXCEPT !.step = "sent"]
  /\ UNCHANGED <<lastAge, seenAge, shownAge, freshAge, armed>>

\* Any beat ever signed: one of each age down to the newest.
Answer(beat) ==
  /\ request.step = "sent" /\ beat >= lastAge
  /\ request' = [request EXCEPT !.step = "executed", !.beat = beat]
  /\ UNCHANGED <<lastAge, seenAge, shownAge, freshAge, armed>>

\* The reconnect that the owner can force at any time, and a restart of the worker.
Cut ==
  /\ request' = Silent /\ shownAge' = Stale
  /\ UNCHANGED <<lastAge, seenAge, freshAge, armed>>
Restart ==
  /\ request' = Silent /\ seenAge' = None /\ shownAge' = Stale /\ freshAge' = Stale /\ armed' = FALSE
  /\ UNCHANGED lastAge

\* Beats of one tick have one age but different counts, so an equal age may be an advance.
Receive(newer) ==
  LET beat == request.beat
      timely == beat - request.age <= TOLERANCE \/ ~Holds("S6 issued_at")
      pair == seenAge # None /\ shownAge # Stale
  IN /\ request.step = "executed" /\ request' = Silent
     /\ newer => beat <= seenAge
     /\ IF ~timely \/ (seenAge # None /\ beat > seenAge)
        THEN UNCHANGED <<seenAge, shownAge, freshAge>>
        ELSE /\ seenAge' = beat /\ shownAge' = Min(request.age, Stale)
             /\ freshAge' = IF pair /\ newer THEN Min(freshAge, shownAge) ELSE freshAge
     /\ armed' = (freshAge' # Stale)
     /\ UNCHANGED lastAge

Next ==
  \/ Tick \/ Sign \/ Ask \/ Cut \/ Restart
  \/ \E beat \in 0..Long : Answer(beat)
  \/ \E newer \in BOOLEAN : Receive(newer)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* what must hold

Permits == armed /\ freshAge < Stale

\* S6 allows that tolerance: against the owner of Redis the bound is the tolerance longer.
OwnerBound == Permits => lastAge < TOLERANCE + BEAT

\* Witness: the owner does reach the last tick of that bound.
NeverUsesTheTolerance == ~(Permits /\ lastAge = TOLERANCE + BEAT - 1)
=============================================================================
