------------------------------- MODULE Keyset -------------------------------
(* Signed keysets: who goes over to the next one, when, and what becomes of a term whose approver
   is not in it any more (K1 to K4, D1).

   Keysets are numbered 1 to MAX. The roots sign the next one when they like. From keyset 2 on Mallory
   is no approver and the stolen heartbeat key is none; from keyset 3 on the heartbeat's own key is
   none, either. Whoever owns Redis offers any step to anybody at any time, real or forged, shows the
   worker the heartbeat's beats or hides them, and holds both stolen keys. What they cannot do is
   sign as a threshold of the roots.

   One heartbeat that follows, one worker; each has a disk. That a beat is fresh, and that a stop
   holds, is the business of the other modules.

   As built: records/rotation.py (next_keyset), delivery/keysets.py, config/taken.py, core/view.py
   (answer, succeed), core/pulse.py (succeed, next_beat), core/adoption.py.                        *)
EXTENDS Integers

CONSTANTS
  MAX,   \* keysets
  DAYS,  \* days; keyset n is good up to day n
  Drop   \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  roots,   \* the newest keyset that the roots have signed
  day,
  term,    \* what is in force: by (who signed it), under (which keyset); None
  hb,      \* k (its keyset), disk, on (the term that it beats for, or None), over (terms that are over for
           \* it), beat (the keyset of its newest beat), late (it has adopted under an expired keyset)
  w        \* k, disk, open, by (who signed what it is open for), seen and at (the keyset of the beat in the
           \* newest answer, and its own then), top (the highest keyset that it ever used), forged and
           \* skipped (it took such a step)

vars == <<roots, day, term, hb, w>>

Holds(rule) == rule \notin Drop
None == [by |-> "nobody", under |-> 0]
People == {"alice", "mallory"}

Approves(p, n) == p = "alice" \/ (p = "mallory" /\ n < 2)
Beats(n) == n < 3
StolenBeats(n) == n < 2
Expired(n) == day > n

Init ==
  /\ roots = 1 /\ day = 0 /\ term = None
  /\ hb = [k |-> 1, disk |-> 1, on |-> None, over |-> {}, beat |-> 0, late |-> FALSE]
  /\ w = [k |-> 1, disk |-> 1, open |-> FALSE, by |-> "nobody", seen |-> 0, at |-> 0, top |-> 1,
          forged |-> FALSE, skipped |-> FALSE]

Tick == day < DAYS /\ day' = day + 1 /\ UNCHANGED <<roots, term, hb, w>>

Publish == roots < MAX /\ roots' = roots + 1 /\ UNCHANGED <<day, term, hb, w>>

\* Under whichever keyset they say: whoever follows no rule names an old one.
Sign(p, n) ==
  /\ n <= roots /\ Approves(p, n)
  /\ term' = [by |-> p, under |-> n]
  /\ UNCHANGED <<roots, day, hb, w>>

-----------------------------------------------------------------------------
\* going over to another keyset

\* A step is real when the roots have signed it; a forged one has the number that its maker likes.
Takes(k, n, real) ==
  /\ n # k /\ (real => n <= roots)
  /\ real \/ ~Holds("K1 signed by the roots")
  /\ n = k + 1 \/ ~Holds("K1 exactly the next")

HbTakes(n, real) ==
  /\ Takes(hb.k, n, real)
  /\ LET ends == hb.on # None /\ ~Approves(hb.on.by, n) /\ Holds("K3 judged anew") IN
     hb' = [hb EXCEPT !.k = n, !.disk = n,
                      !.on = IF ends THEN None ELSE @,
                      !.over = IF ends THEN @ \cup {hb.on} ELSE @]
  /\ UNCHANGED <<roots, day, term, w>>

WTakes(n, real) ==
  /\ Takes(w.k, n, real)
  /\ w' = [w EXCEPT !.k = n,
                    !.disk = IF Holds("K1 on the disk before use") THEN n ELSE @,
                    !.open = @ /\ (Approves(w.by, n) \/ ~Holds("K3 judged anew")),
                    !.top = IF n > @ THEN n ELSE @,
                    !.forged = @ \/ ~real,
                    !.skipped = @ \/ n # w.k + 1]
  /\ UNCHANGED <<roots, day, term, hb>>

Restart ==
  /\ w' = [w EXCEPT !.k = w.disk, !.open = FALSE, !.by = "nobody", !.seen = 0]
  /\ UNCHANGED <<roots, day, term, hb>>

-----------------------------------------------------------------------------
\* the heartbeat

Adopt ==
  /\ hb.on = None /\ term # None /\ term \notin hb.over
  /\ Approves(term.by, hb.k) /\ term.under <= hb.k
  /\ ~Expired(hb.k) \/ ~Holds("D1 the keyset's day")
  /\ hb' = [hb EXCEPT !.on = term, !.late = @ \/ Expired(hb.k)]
  /\ UNCHANGED <<roots, day, term, w>>

Beat ==
  /\ hb.on # None
  /\ Beats(hb.k) \/ ~Holds("K4 with its own key only")
  /\ hb' = [hb EXCEPT !.beat = hb.k]
  /\ UNCHANGED <<roots, day, term, w>>

\* Another term is in force: the one before is over for it (S12).
Leave ==
  /\ hb.on # None /\ hb.on # term
  /\ hb' = [hb EXCEPT !.over = @ \cup {hb.on}, !.on = None]
  /\ UNCHANGED <<roots, day, term, w>>

-----------------------------------------------------------------------------
\* the worker: an answer shows the term, the beat of the stolen key, and the heartbeat's or not

Ask(shown) ==
  LET beat == IF shown THEN hb.beat ELSE 0
      good == /\ term # None /\ Approves(term.by, w.k) /\ term.under <= w.k
              /\ \/ beat # 0 /\ beat <= w.k /\ hb.on = term
                 \/ StolenBeats(w.k)
      behind == beat > w.k /\ Holds("K2 behind is closed")
  IN
  /\ w' = [w EXCEPT !.open = good /\ ~behind, !.by = term.by, !.seen = beat, !.at = w.k]
  /\ UNCHANGED <<roots, day, term, hb>>

Next ==
  \/ Tick \/ Publish \/ Adopt \/ Beat \/ Leave \/ Restart
  \/ \E p \in People, n \in 1..MAX : Sign(p, n)
  \/ \E n \in 1..MAX, real \in BOOLEAN : HbTakes(n, real) \/ WTakes(n, real)
  \/ \E shown \in BOOLEAN : Ask(shown)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* what must hold

OnlyByTheRoots == ~w.forged /\ w.k <= roots /\ hb.k <= roots
OneByOne == ~w.skipped
\* Lower numbers are refused for ever, also after a restart.
NeverBack == w.k = w.top
\* What the fleet beats under is what its workers judge by, or they are closed.
BehindIsClosed == w.open => w.seen <= w.k
\* No term is traded or beaten for under a keyset in which its approver is not.
DisownedEnds ==
  /\ w.open => Approves(w.by, w.k)
  /\ hb.on # None => Approves(hb.on.by, hb.k)
\* A stolen heartbeat key is good for nothing once the fleet has gone over.
StolenKeyArmsNobody == w.open /\ w.at >= 2 => w.seen # 0
BarredIsSilent == hb.beat # 0 => Beats(hb.beat)
NothingNewAfterItsDay == ~hb.late

\* Witnesses: each must be refuted, or the model does nothing.
NeverOpens == ~w.open
NeverFollows == ~(w.open /\ w.k = 2)
NeverBehind == ~(term # None /\ w.seen > w.k)
NeverDisowned == hb.over = {}
NeverTradesOnAfterItsDay == ~(w.open /\ Expired(w.k))
=============================================================================
