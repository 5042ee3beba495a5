------------------------------- MODULE Cards -------------------------------
(* Stop cards: a revocation that is signed in advance and played later, by whoever holds it
   (S2). It is bounded by two numbers: it covers a term iff the term's number is at most
   EPOCH and the term was activated before UNTIL.

   One worker, one store, one card that was signed under a keyset which may go. The card is
   played in full (its script), or pushed alone, at any time and any number of times; old data
   comes back, which brings a term back without the tombstone. An ordinary stop goes by its
   number alone.

   As built: records/directive.py (covers), core/answer.py (Latch), core/knowledge.py (ended),
   store/lua/revoke.lua, store/lua/grant.lua.                                             *)
EXTENDS Integers, FiniteSets

CONSTANTS
  EPOCH,  \* the number of the card: the largest that was used when it was issued, and N
  UNTIL,  \* terms that are activated from here on are not covered
  END,    \* the last tick
  MOST,   \* the largest number of a term
  Drop    \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  now,     \* ticks
  void,    \* the keyset of the worker does not know the signer any more
  store,   \* term (in force, or Nothing), stone (the tombstone's number), used (the largest number)
  terms,   \* every term that was ever in force
  worker,  \* latch (terms up to this number are over), card (so is what the card covers), armed (a term)
  ended,   \* the highest number of an ordinary stop that the worker has heard of
  valid    \* the worker has heard the card while it knew the signer

vars == <<now, void, store, terms, worker, ended, valid>>

Holds(rule) == rule \notin Drop
Nothing == [n |-> 0, at |-> 0]
Max(a, b) == IF a > b THEN a ELSE b

\* What was promised, whatever is dropped.
Promised(t) == t.n <= EPOCH /\ t.at < UNTIL

\* As built.
Covers(t) ==
  /\ t.n <= EPOCH \/ ~Holds("S2 epoch of a card")
  /\ t.at < UNTIL \/ ~Holds("S2 until of a card")
Over(t) == t.n <= worker.latch \/ (worker.card /\ Covers(t))

Init ==
  /\ now = 0 /\ void = FALSE
  /\ store = [term |-> Nothing, stone |-> 0, used |-> 0]
  /\ terms = {} /\ worker = [latch |-> 0, card |-> FALSE, armed |-> Nothing]
  /\ ended = 0 /\ valid = FALSE

Tick == now < END /\ now' = now + 1 /\ UNCHANGED <<void, store, terms, worker, ended, valid>>

\* The roots sign a keyset without the signer of the card, and the worker has taken it.
Void == ~void /\ void' = TRUE /\ UNCHANGED <<now, store, terms, worker, ended, valid>>

Activate ==
  LET n == Max(store.used, IF Holds("S2 above the card that was played") THEN store.stone ELSE 0) + 1
      t == [n |-> n, at |-> now]
  IN /\ store.term = Nothing /\ n <= MOST
     /\ store' = [store EXCEPT !.term = t, !.used = n]
     /\ terms' = terms \cup {t}
     /\ UNCHANGED <<now, void, worker, ended, valid>>

\* The worker reads the store, and arms for what it shows.
Arm ==
  /\ store.term # Nothing /\ ~Over(store.term)
  /\ worker' = [worker EXCEPT !.armed = store.term]
  /\ UNCHANGED <<now, void, store, terms, ended, valid>>

\* An ordinary stop of the term in force, which every worker hears.
Stop ==
  LET n == Max(store.used, store.stone) + 1
  IN /\ store.term # Nothing /\ n <= MOST
     /\ store' = [term |-> Nothing, stone |-> n, used |-> n]
     /\ worker' = [worker EXCEPT !.latch = Max(@, n), !.armed = Nothing]
     /\ ended' = Max(ended, n)
     /\ UNCHANGED <<now, void, terms, valid>>

\* The card as the worker hears it: pushed, or read as the tombstone.
Heard ==
  IF void /\ Holds("S2 void card") THEN UNCHANGED <<worker, valid>>
  ELSE
    LET armed == worker.armed
        over == armed # Nothing /\ (Covers(armed) \/ ~Holds("S2 latch of a card"))
    IN /\ worker' =
            [latch |-> IF ~Holds("S2 latch of a card") THEN Max(worker.latch, EPOCH)
                       ELSE IF over THEN Max(worker.latch, armed.n) ELSE worker.latch,
             card |-> worker.card \/ Holds("S2 terms that are not known yet"),
             armed |-> IF over THEN Nothing ELSE armed]
       /\ valid' = (valid \/ ~void)

\* With redis-cli: PUBLISH alone, or the script, which deletes whatever is in force.
Push == Heard /\ UNCHANGED <<now, void, store, terms, ended>>
Play ==
  /\ Heard
  /\ store' = [term |-> Nothing, stone |-> Max(store.stone, EPOCH), used |-> store.used]
  /\ UNCHANGED <<now, void, terms, ended>>

\* An old copy comes back: a term is in force that was, and the tombstone is lost.
Back ==
  \E t \in terms :
    /\ store' = [store EXCEPT !.term = t, !.stone = 0]
    /\ UNCHANGED <<now, void, terms, worker, ended, valid>>

\* The worker lets go of its permit: a lease ends, the key is gone.
Lapse ==
  /\ worker.armed # Nothing /\ worker' = [worker EXCEPT !.armed = Nothing]
  /\ UNCHANGED <<now, void, store, terms, ended, valid>>

Next == Tick \/ Void \/ Activate \/ Arm \/ Stop \/ Push \/ Play \/ Back \/ Lapse

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------

\* Who has heard a good card never trades in a term that it covers, also one that begins later.
CardEnds == valid => ~(worker.armed # Nothing /\ Promised(worker.armed))
\* And what is over for a worker was ended by a stop, or by a good card that covers it: a card that was
\* played late, that is used up or void ends nothing for good.
CardIsBounded == \A t \in terms : Over(t) => t.n <= ended \/ (valid /\ Promised(t))
\* What is activated where the card was played, and its tombstone stands, is not under it.
AboveTheStone == store.term # Nothing => store.term.n > store.stone

\* Witnesses: each must be refuted, or the model does nothing.
NeverEnds == ~(valid /\ \E t \in terms : Over(t) /\ t.n > ended)
NeverSparesALaterTerm == ~(valid /\ worker.armed # Nothing /\ worker.armed.at >= UNTIL
                           /\ worker.armed.n <= EPOCH)
NeverVoid == ~(void /\ ~valid /\ store.stone = EPOCH)
NeverTradesAgain == ~(valid /\ store.stone = EPOCH /\ worker.armed # Nothing
                      /\ worker.armed = store.term)
=============================================================================
