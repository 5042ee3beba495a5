---------------------------- MODULE Directives -----------------------------
(* Halts and resumes within one term, and what a failover that loses some of them may
   do to a guard: S3, S4 and the second half of S13.

   Two copies of the data: the primary, which operators use and every new connection
   finds, and another, which follows it at times, becomes the primary in a failover
   with whatever it has, and may have stragglers still connected. Directives are numbered as the operator numbers them: one above the
   highest in sight, so that after a loss two of them can have one epoch. Every halt
   concerns every order, so a guard that holds one halt less trades more.

   As built: core/knowledge.py (read, met, went_back), core/view.py (_judge, _applied,
   _restricted), core/freshness.py (take), core/pulse.py (_follow, next_beat),
   core/state.py (in_force, assemble), store/lua/grant.lua, restrict.lua, attend.lua,
   operator/grants.py (loosen), operator/restrictions.py (_put_restriction).

   Left out, because leaving it out allows more: time. A guard is armed once it has seen
   a beat advance and stays so; Freshness.tla says for how long. Revocations are
   Stop.tla's.                                                                         *)
EXTENDS Integers, FiniteSets

CONSTANTS
  Heartbeats,
  DIRECTIVES, \* how many are signed after the activation
  BEATS,      \* how many beats are sent in all
  LOSSES,     \* failovers, losses of a copy, and restarts of heartbeats, in all
  Drop        \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  made,    \* the directives: made[d].kind, epoch, keeps; and for the proof, what it drops
  copy,    \* per copy: on, grant, held (restrictions), last, beats by heartbeat
  beats,   \* beats sent so far; also the count of the newest
  primary, \* the copy in charge
  losses,  \* how much of LOSSES is used up
  hb,      \* per heartbeat: link, state (grant, held), over, and for the proof `verified`
  worker,  \* the guard
  request  \* the answer to its outstanding question, on its way

vars == <<made, copy, primary, beats, losses, hb, worker, request>>

Holds(rule) == rule \notin Drop
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Copies == {1, 2}
None == -1
Activation == 0                       \* identity of the first grant; its epoch is 1
All == 0..DIRECTIVES
NoState == [grant |-> -1, held |-> {}]
Begun == [grant |-> Activation, held |-> {}]
NoBeat == [n |-> 0, epoch |-> 1, set |-> Begun, verified |-> {}]
NoAnswer == [sent |-> FALSE, on |-> FALSE, same |-> FALSE, state |-> NoState, last |-> -1,
             beats |-> [h \in Heartbeats |-> NoBeat]]

Kind(d) == made[d].kind
Epoch(d) == made[d].epoch
\* A grant ends those restrictions that its signers saw and let go, and no others. To tell that by
\* the epochs alone takes every other restriction for one of those.
InForce(r, g) == IF Holds("S3 let go by name") THEN r \notin made[g].drops
                 ELSE Epoch(r) > Epoch(g) \/ r \in made[g].keeps
Only(g, rs) == {r \in rs : InForce(r, g)}
Top(s) == Max({Epoch(s.grant)} \cup {Epoch(r) : r \in s.held})
Known(s) == s # NoState
UpTo(s, epoch) == [s EXCEPT !.held = {r \in @ : Epoch(r) <= epoch}]

Init ==
  /\ made = [d \in All |-> [kind |-> IF d = 0 THEN "grant" ELSE "none",
                            epoch |-> IF d = 0 THEN 1 ELSE 0, keeps |-> {}, drops |-> {}]]
  /\ copy = [c \in Copies |-> [on |-> TRUE, grant |-> Activation, held |-> {},
                               last |-> Activation, beats |-> [h \in Heartbeats |-> NoBeat]]]
  /\ primary = 1 /\ beats = 0 /\ losses = 0
  /\ hb = [h \in Heartbeats |-> [link |-> 1, over |-> FALSE, verified |-> {},
                                 state |-> Begun]]
  /\ worker = [link |-> 1, state |-> Begun, answered |-> Begun, last |-> Activation,
               seen |-> [h \in Heartbeats |-> 0], shown |-> [h \in Heartbeats |-> 0],
               fresh |-> TRUE, armed |-> TRUE, applied |-> {}, trusts |-> {}]
  /\ request = NoAnswer

-----------------------------------------------------------------------------
\* operators: compare-and-set on `last` makes each of these one step

Free == {d \in All : Kind(d) = "none"}
Next1 == CHOOSE d \in Free : \A e \in Free : d <= e
Stored(c) == [grant |-> copy[c].grant, held |-> copy[c].held]

\* One above the newest directive in sight: the store's, or what some pod tells of in its presence
\* or the operator's host remembers.
Numbers ==
  {Top(Stored(primary)) + 1} \cup {Max({Top(Stored(primary))} \cup {Epoch(d) : d \in All}) + 1}

Halt(epoch) ==
  LET c == primary IN
  /\ Free # {} /\ copy[c].on
  /\ LET d == Next1
     IN /\ made' = [made EXCEPT ![d] = [kind |-> "halt", epoch |-> epoch,
                                        keeps |-> {}, drops |-> {}]]
        /\ copy' = [copy EXCEPT ![c].held = @ \cup {d}, ![c].last = d]
  /\ UNCHANGED <<primary, beats, losses, hb, worker, request>>

\* resume, or an extend that keeps everything. `drops`: what the signer saw and let go, with
\* what the grants before it let go.
Grant(epoch, keeps) ==
  LET c == primary IN
  /\ Free # {} /\ copy[c].on /\ keeps \subseteq copy[c].held
  /\ LET d == Next1
         let_go == made[copy[c].grant].drops \cup (copy[c].held \ keeps)
     IN /\ made' = [made EXCEPT ![d] = [kind |-> "grant", epoch |-> epoch,
                                        keeps |-> keeps, drops |-> let_go]]
        /\ copy' = [copy EXCEPT ![c].grant = d, ![c].held = keeps, ![c].last = d]
  /\ UNCHANGED <<primary, beats, losses, hb, worker, request>>

-----------------------------------------------------------------------------
\* the store

\* The other copy takes over everything; who was connected to it loses the connection.
Follow ==
  LET c == 3 - primary
  IN /\ copy[c] # copy[primary] /\ copy' = [copy EXCEPT ![c] = copy[primary]]
     /\ worker' = [worker EXCEPT !.link = IF @ = c THEN 0 ELSE @]
     /\ request' = IF worker.link = c THEN NoAnswer ELSE request
     /\ UNCHANGED <<made, primary, beats, losses, hb>>

Failover ==
  /\ losses < LOSSES /\ losses' = losses + 1 /\ primary' = 3 - primary
  /\ UNCHANGED <<made, copy, beats, hb, worker, request>>

\* Killed and restarted without its data, or somebody deleted the key.
Empty ==
  /\ losses < LOSSES /\ losses' = losses + 1 /\ copy[primary].on
  /\ copy' = [copy EXCEPT ![primary].on = FALSE]
  /\ UNCHANGED <<made, primary, beats, hb, worker, request>>

-----------------------------------------------------------------------------
\* heartbeats

Verify(h, s) == [hb EXCEPT ![h].state = s, ![h].verified = @ \cup s.held]

\* A restriction is merged with what is held (S3); the state never goes back to an older grant, but
\* takes up what is restricted beside one.
HbRead(h) ==
  LET c == hb[h].link  mine == hb[h].state
      stored == [grant |-> copy[c].grant, held |-> Only(copy[c].grant, copy[c].held)]
      merged == IF Known(mine) /\ Holds("S13 highest directive")
                THEN [stored EXCEPT !.held = @ \cup Only(stored.grant, mine.held)] ELSE stored
      behind == Known(mine) /\ Epoch(copy[c].grant) < Epoch(mine.grant)
                /\ Holds("S13 highest directive")
  IN /\ ~hb[h].over
     /\ hb' = IF ~copy[c].on THEN [hb EXCEPT ![h].over = TRUE]
              ELSE Verify(h, IF behind
                             THEN [mine EXCEPT !.held = @ \cup Only(mine.grant, stored.held)]
                             ELSE merged)
     /\ hb' # hb
     /\ UNCHANGED <<made, copy, primary, beats, losses, worker, request>>

HbPush(h, d) ==
  /\ ~hb[h].over /\ Kind(d) = "halt" /\ Known(hb[h].state) /\ InForce(d, hb[h].state.grant)
  /\ d \notin hb[h].state.held
  /\ hb' = Verify(h, [hb[h].state EXCEPT !.held = @ \cup {d}])
  /\ UNCHANGED <<made, copy, primary, beats, losses, worker, request>>

HbConnect(h) ==
  /\ hb[h].link # primary /\ hb' = [hb EXCEPT ![h].link = primary]
  /\ UNCHANGED <<made, copy, primary, beats, losses, worker, request>>

HbRestart(h) ==
  /\ ~Holds("S13 durable state")  \* with it, a restart changes nothing
  /\ losses < LOSSES /\ losses' = losses + 1 /\ ~hb[h].over /\ Known(hb[h].state)
  /\ hb' = [hb EXCEPT ![h].state = NoState]
  /\ UNCHANGED <<made, copy, primary, beats, worker, request>>

HbBeat(h) ==
  LET c == hb[h].link  s == hb[h].state
  IN /\ beats < BEATS /\ ~hb[h].over /\ Known(s) /\ copy[c].on
     /\ beats' = beats + 1
     /\ copy' = [copy EXCEPT ![c].beats[h] =
          [n |-> beats', epoch |-> Top(s), set |-> s, verified |-> hb[h].verified]]
     /\ UNCHANGED <<made, primary, losses, hb, worker, request>>

\* restrict.lua with the flag `again`: what the store has lost is put back.
Reassert(h) ==
  LET c == hb[h].link
      lost == IF Known(hb[h].state) /\ copy[c].on /\ copy[c].grant = hb[h].state.grant
              THEN hb[h].state.held \ copy[c].held ELSE {}
  IN \E r \in lost :
       /\ copy' = [copy EXCEPT ![c].held = @ \cup {r}, ![c].last = r]
       /\ UNCHANGED <<made, primary, beats, losses, hb, worker, request>>

-----------------------------------------------------------------------------
\* the guard

Connect ==
  /\ worker.link # primary
  /\ worker' = [worker EXCEPT !.link = primary,
                              !.shown = [h \in Heartbeats |-> None]]
  /\ request' = NoAnswer
  /\ UNCHANGED <<made, copy, primary, beats, losses, hb>>

\* attend.lua: the state is left out when `last` is the one that the guard knows. What the question
\* says is settled when it is sent and nothing depends on when that was, so asking and executing are
\* one step.
Ask ==
  LET at == copy[worker.link]
  IN /\ worker.link # 0 /\ ~request.sent
     /\ request' = [sent |-> TRUE, on |-> at.on, same |-> at.on /\ at.last = worker.last,
                    state |-> [grant |-> at.grant, held |-> at.held],
                    last |-> at.last, beats |-> at.beats]
     /\ UNCHANGED <<made, copy, primary, beats, losses, hb, worker>>

\* Absent: closed, but what was held of this term is not forgotten.
Absent ==
  [worker EXCEPT !.answered = NoState, !.last = -1, !.armed = FALSE, !.fresh = FALSE,
                 !.shown = [h \in Heartbeats |-> None],
                 !.state = IF Holds("S3 absence forgets nothing") THEN @ ELSE NoState]

\* Refused: COLD, and the next question asks for everything.
Refused(w) ==
  [w EXCEPT !.last = -1, !.armed = FALSE, !.fresh = FALSE, !.shown = [h \in Heartbeats |-> None]]

\* core.view._judge, in its order.
Judged ==
  LET full == [grant |-> request.state.grant,
               held |-> Only(request.state.grant, request.state.held)]
      stored == IF request.same /\ request.last = worker.last /\ Known(worker.answered)
                THEN worker.answered ELSE full
      older == Known(worker.state) /\ Epoch(stored.grant) < Epoch(worker.state.grant)
      merged == IF Known(worker.state) /\ Holds("S3 merge")
                THEN [stored EXCEPT !.held = @ \cup Only(stored.grant, worker.state.held)]
                ELSE stored
      valid == {h \in Heartbeats : request.beats[h].n >= worker.seen[h]}
      new == {h \in valid : worker.shown[h] # None /\ request.beats[h].n > worker.shown[h]}
      behind == \E h \in valid :
                  \/ request.beats[h].epoch > Top(stored) /\ Holds("S4 epoch")
                  \/ /\ Holds("S4 set")
                     /\ IF Holds("S4 set of every epoch")
                        THEN request.beats[h].epoch >= Epoch(stored.grant)
                        ELSE request.beats[h].epoch = Top(stored)
                     /\ request.beats[h].set # UpTo(stored, request.beats[h].epoch)
      vouching == {h \in valid : request.beats[h].epoch >= Epoch(stored.grant)}
      took == [worker EXCEPT
                 !.answered = stored, !.state = merged, !.last = request.last,
                 !.applied = @ \cup merged.held,
                 !.seen = [h \in Heartbeats |-> IF h \in valid THEN request.beats[h].n ELSE @[h]],
                 !.shown = [h \in Heartbeats |-> IF h \in valid THEN request.beats[h].n ELSE @[h]]]
      isFresh == worker.fresh \/ new # {}
  IN IF older THEN Refused(worker)
     ELSE IF behind THEN Refused(took)
     ELSE [took EXCEPT !.fresh = isFresh, !.armed = isFresh,
             !.trusts = IF isFresh THEN UNION {request.beats[h].verified : h \in vouching} ELSE @]

\* A grant whose `keeps` are not all there makes no state (core.state.assemble).
Whole == made[request.state.grant].keeps \subseteq request.state.held

Receive ==
  /\ request.sent /\ request' = NoAnswer
  /\ worker' = IF ~request.on THEN Absent
               ELSE IF ~request.same /\ ~Whole THEN Refused(worker)
               ELSE Judged
  /\ UNCHANGED <<made, copy, primary, beats, losses, hb>>

Push(d) ==
  /\ Kind(d) = "halt" /\ Known(worker.state) /\ InForce(d, worker.state.grant)
  /\ d \notin worker.state.held
  /\ worker' = [worker EXCEPT !.state.held = @ \cup {d}, !.applied = @ \cup {d}]
  /\ UNCHANGED <<made, copy, primary, beats, losses, hb, request>>

Step ==
  \/ Follow \/ Failover \/ Empty
  \/ \E epoch \in Numbers : Halt(epoch) \/ \E keeps \in SUBSET copy[primary].held : Grant(epoch, keeps)
  \/ \E h \in Heartbeats : HbRead(h) \/ HbConnect(h) \/ HbRestart(h) \/ HbBeat(h) \/ Reassert(h)
  \/ \E h \in Heartbeats, d \in All : HbPush(h, d)
  \/ Connect \/ Ask \/ Receive \/ \E d \in All : Push(d)

Spec == Init /\ [][Step]_vars

-----------------------------------------------------------------------------
\* what must hold

LetGo == IF Known(worker.state) THEN made[worker.state.grant].drops ELSE {}

\* S3: a guard that permits holds every halt that it ever said it applied, but for those that
\* somebody who knew of them let go by a grant.
NoSilentLoosening == worker.armed => worker.applied \subseteq (worker.state.held \cup LetGo)

\* S4: and every halt that a heartbeat had verified whose beat the last answer showed, unless a
\* grant came after that beat: then the next beat tells.
BeatsVouch == worker.armed => worker.trusts \subseteq (worker.state.held \cup LetGo)

\* Witnesses: each must be refuted, or the model does nothing.
NeverArms == ~worker.armed
NeverHolds == ~(worker.armed /\ worker.state.held # {})
NeverResumes == ~(worker.armed /\ LetGo # {} /\ worker.state.held = {})
NeverOneEpochTwice == ~(worker.armed /\ \E d, e \in worker.state.held : d # e /\ Epoch(d) = Epoch(e))
=============================================================================
