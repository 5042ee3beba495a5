------------------------------- MODULE Stop --------------------------------
(* A stop of the whole fleet: latches, receipts, rosters, restarts and failover, and
   what COMPLETE means (S9, S11 to S14; S1 and S2 over several terms).

   Two copies of the data: the primary, which every new connection finds, and another,
   which follows it at times, becomes the primary in a failover with whatever it has,
   and may have stragglers connected. Every write is lost that the other copy had not
   taken over; going back to it is the old primary's data coming back.

   Time is an order here. A worker's `p` (Freshness.tla) is old or new: from before or
   after the operator's clock of S14 was started by the last heartbeat's receipt.
   OverByTime is beat_ms later: every deadline that rests on an old `p` is
   over, which is Freshness.tla's BeatBound. Nothing else ever ends a deadline here:
   that leaves more to happen than the lease allows.

   Workers are processes (instances) of one worker id with one folder of state files;
   one that is killed is followed by the next. A pod's attend is one step: what is on
   its way when a pod latches is refused by the latch, and what is on its way when the
   clock is started carries an old `p`.

   As built: core/barrier.py (judge), core/knowledge.py (ended), core/pulse.py,
   core/view.py, stop/revoke.py, heartbeat/daemon.py, guard/stopping.py, statefile.py,
   store/lua/revoke.lua, restrict.lua, grant.lua, beat.lua.                         *)
EXTENDS Integers, FiniteSets, TLC

CONSTANTS
  Workers, Up, \* instances, and those that trade at the start
  Heartbeats, Joined, \* those of the keyset, and those of them that joined after the activation:
               \* the other copy has not heard of them yet
  Named, Late, \* those that the grant names, and those that are started during the term
  Remembered,  \* the heartbeats of the activation, where the operator's host knows them
  TERMS,       \* how many activations
  BEATS,       \* how many beats are sent in all
  FOLLOWS,     \* how often the other copy takes over what the primary has
  FAULTS,      \* how many faults happen in all
  Kinds,       \* and of which kinds: "failover", "crash", "kill", "restart", "empty", "disk"
  Features,    \* what else is modelled: "orders", "slow beats", "delete", "short", "owner",
               \* "attested": a worker that is not in Up was forgotten by an operator whose word is wrong: it
               \* is silent, holds no order, and lives. Whatever it does next begins with a read
  WorkerFiles, HeartbeatFiles, \* whether state files are configured
  Drop         \* the rules that this configuration drops: {} for the protocol as built

VARIABLES
  copy,     \* per copy: term (0 absent), tomb, beats by heartbeat, fleet and hearts (the rosters;
            \* of a heartbeat, which of its processes registered last, 0 for none),
            \* origin (this process took the activation), dead (workers attested to be dead)
  primary,
  beats, follows, faults, \* how much of BEATS, FOLLOWS and FAULTS is used up
  hb, worker,
  disk,     \* the latch in the workers' state files
  late,     \* beats that a closed connection may still deliver
  op        \* the operator

vars == <<copy, primary, beats, follows, faults, hb, worker, disk, late, op>>

Holds(rule) == rule \notin Drop
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Copies == {1, 2}
Terms == 1..TERMS
None == -1
\* S2: a revocation covers every term up to its epoch; epochs are named after terms here.
Covers(latch, term) == IF Holds("S2 every earlier term") THEN term <= latch ELSE term = latch
NoPair == [h \in Heartbeats |-> None]
Nobody == [h \in Heartbeats |-> 0]
Forgotten == IF "attested" \in Features THEN Workers \ Up ELSE {}
Unknown(h, c) == h \in Late \/ (h \in Joined /\ c = 2)
AtFirst(c) == [h \in Heartbeats |-> IF Unknown(h, c) THEN None ELSE 0]

Init ==
  /\ copy = [c \in Copies |->
       [term |-> 1, tomb |-> 0, beats |-> AtFirst(c),
        fleet |-> Up, hearts |-> [h \in Heartbeats |-> IF Unknown(h, c) THEN 0 ELSE 1],
        origin |-> c = 1, dead |-> Forgotten]]
  /\ primary = 1 /\ beats = 0 /\ follows = 0 /\ faults = 0 /\ disk = 0 /\ late = {}
  /\ hb = [h \in Heartbeats |->
       LET up == h \notin Late
           term == IF up THEN 1 ELSE 0
       IN [link |-> term, from |-> term, latch |-> 0, term |-> term, rev |-> 0, out |-> 0, absent |-> FALSE,
           others |-> NoPair, process |-> term, said |-> 0, elsewhere |-> FALSE, bad |-> FALSE,
           moved |-> FALSE, gone |-> FALSE, born |-> 0, made |-> {0},
           kept |-> [latch |-> 0, term |-> term, rev |-> 0]]]
  /\ worker = [w \in Workers |->
       LET up == w \in Up
       IN [life |-> IF up \/ w \in Forgotten THEN "up" ELSE "unborn", link |-> IF up THEN 1 ELSE 0, latch |-> 0,
           term |-> IF up THEN 1 ELSE 0, phase |-> "run",
           shown |-> IF up THEN AtFirst(1) ELSE NoPair,
           pair |-> IF up THEN 1 ELSE 0, p |-> IF up THEN 1 ELSE 0, armed |-> up, order |-> 0,
           told |-> 0, drained |-> 0, left |-> FALSE, bad |-> FALSE, heir |-> 0]]
  /\ op = [link |-> 1, rev |-> 0, short |-> FALSE, shown |-> FALSE, read |-> FALSE, after |-> FALSE,
           hearts |-> {}, fleet |-> {}, words |-> {}, clock |-> FALSE, over |-> FALSE, done |-> 0,
           by |-> "nothing"]

Fault(kind) == kind \in Kinds /\ faults < FAULTS /\ faults' = faults + 1
Has(feature) == feature \in Features
Symmetry == Permutations(Workers) \cup Permutations(Heartbeats)

-----------------------------------------------------------------------------
\* the store

\* Of a heartbeat: `from` is the copy that it connected to last, 0 once that is another process or
\* has another history: its run id or its replication id has changed.
Changed(r, c) == IF r.from = c THEN [r EXCEPT !.from = 0] ELSE r
HbCut(c) == [h \in Heartbeats |->
  Changed(IF hb[h].link = c THEN [hb[h] EXCEPT !.link = 0, !.out = 0] ELSE hb[h], c)]
Cut(c) == [w \in Workers |-> IF worker[w].link = c
                             THEN [worker[w] EXCEPT !.link = 0, !.shown = NoPair] ELSE worker[w]]

\* The other copy takes over everything; who was connected to it loses the connection.
Follow ==
  LET c == 3 - primary
      new == [copy[primary] EXCEPT !.origin = copy[c].origin]
  IN /\ follows < FOLLOWS /\ follows' = follows + 1
     /\ copy[c] # new /\ copy' = [copy EXCEPT ![c] = new]
     /\ worker' = Cut(c)
     /\ hb' = HbCut(c)
     /\ UNCHANGED <<primary, beats, faults, disk, late, op>>

Failover ==
  /\ Fault("failover") /\ primary' = 3 - primary
  /\ hb' = [h \in Heartbeats |-> Changed(hb[h], 3 - primary)] \* promoted: another history
  /\ UNCHANGED <<copy, beats, follows, worker, disk, late, op>>

\* Killed and restarted without its data: another process, and everybody connects anew.
Crash ==
  LET c == primary
  IN /\ Fault("crash")
     /\ copy' = [copy EXCEPT ![c] = [term |-> 0, tomb |-> 0, beats |-> NoPair,
                                     fleet |-> {}, hearts |-> Nobody, origin |-> FALSE, dead |-> {}]]
     /\ worker' = Cut(c)
     /\ hb' = HbCut(c)
     /\ UNCHANGED <<primary, beats, follows, disk, late, op>>

\* A bare DEL golive:active.
Delete ==
  /\ Has("delete") /\ copy[primary].term # 0
  /\ copy' = [copy EXCEPT ![primary].term = 0, ![primary].beats = NoPair]
  /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, late, op>>

\* activate, over an unconfirmed stop too.
Activate(t) ==
  LET c == primary
  IN /\ copy[c].term = 0 /\ copy[c].tomb < t /\ t > 1 /\ op.rev = t - 1
     /\ \A d \in Copies : copy[d].term < t
     /\ copy' = [copy EXCEPT ![c].term = t, ![c].beats = NoPair]
     /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, late, op>>

\* Whoever owns Redis shows each process either copy. The second is a fork: any beat that was ever made
\* is put on it, and a stop is hidden there. What is signed they cannot make.
Shows(c) == IF Has("owner") THEN c \in Copies ELSE c = primary

OwnerReplays ==
  /\ Has("owner")
  /\ \E h \in Heartbeats : \E n \in hb[h].made :
       copy[2].beats[h] # n /\ copy' = [copy EXCEPT ![2].beats[h] = n]
  /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, late, op>>

OwnerHides ==
  /\ Has("owner")
  /\ copy' = [copy EXCEPT ![2].term = 1, ![2].tomb = 0]
  /\ copy' # copy
  /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, late, op>>

-----------------------------------------------------------------------------
\* heartbeats

HbStart(h) ==
  /\ hb[h].process = 0
  /\ \E c \in Copies : /\ Shows(c)
                       /\ hb' = [hb EXCEPT ![h].process = 1, ![h].link = c, ![h].from = c, ![h].born = beats]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late, op>>

\* Against the owner it is left out: whoever has no connection only does nothing, and HbConnect is enough.
HbLose(h) ==
  /\ ~Has("owner") /\ hb[h].link # 0 /\ hb[h].out = 0 /\ hb' = [hb EXCEPT ![h].link = 0]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late, op>>

HbConnect(h) ==
  /\ hb[h].process # 0 /\ hb[h].out = 0
  /\ \E c \in Copies : /\ Shows(c) /\ hb[h].link # c
       /\ hb' = [hb EXCEPT ![h].link = c, ![h].from = c,
       ![h].others = NoPair,
       ![h].absent = IF Holds("S13 on one server") /\ hb[h].from # c THEN FALSE ELSE @]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late, op>>

Ended(r) == [r EXCEPT !.latch = Max({@, r.term}), !.term = 0]

\* Persisted before the receipt, unless the disk is bad: then the receipt says so.
Kept(r) == IF r.bad \/ ~HeartbeatFiles THEN r
           ELSE [r EXCEPT !.kept = [latch |-> r.latch, term |-> r.term, rev |-> r.rev]]

\* S12: a revocation, from wherever it came.
Latched(r, rev) ==
  IF rev <= r.rev THEN r
  ELSE LET new == [r EXCEPT !.latch = IF Holds("S12 revocation latches") THEN Max({@, rev}) ELSE @,
                            !.rev = rev,
                            !.term = IF Covers(rev, @) /\ Holds("S12 revocation latches") THEN 0 ELSE @]
       IN IF r.bad /\ Holds("S9 failed does not count") THEN Kept(new)
          ELSE [Kept(new) EXCEPT !.said = IF rev = op.rev /\ op.done < rev THEN r.process ELSE @,
                                 !.elsewhere = new.moved /\ op.done < rev]

\* A1: whose beats count, for the grant names them.
Believed == IF Holds("A1 the grant names its heartbeats") THEN Named ELSE Heartbeats

\* One attend: registers and reads.
HbRead(h) ==
  LET c == hb[h].link  at == copy[c]
      r == Latched(hb[h], at.tomb)
      \* A3: a beat that was made before this process was started is recorded, perhaps.
      advanced == \E o \in Believed \ {h} :
        /\ r.others[o] # None /\ at.beats[o] > r.others[o]
        /\ at.beats[o] > r.born \/ ~Holds("A3 join after the start")
      \* The owner's activation is older than the 60 s in which one may be taken for seen.
      happened == r.absent /\ ~Has("owner")
      others == [o \in Heartbeats |-> IF o = h \/ at.beats[o] = None THEN r.others[o]
                                      ELSE Max({at.beats[o], r.others[o]})]
      here == IF r.term # 0 /\ r.term # at.term THEN Ended(r) ELSE r
      adopts == /\ here.term = 0 /\ ~Covers(here.latch, at.term)
                /\ h \in Believed
                /\ happened \/ advanced \/ ~Holds("S13 silent until seen")
      present == [here EXCEPT !.term = IF adopts THEN at.term ELSE @, !.others = others,
                              !.absent = FALSE]
      absent == [r EXCEPT !.absent = TRUE, !.gone = @ \/ (Has("delete") /\ r.term # 0),
                          !.latch = IF Holds("S12 absence latches") THEN Max({@, r.term}) ELSE @,
                          !.term = IF Holds("S12 absence latches") THEN 0 ELSE @]
  IN /\ c # 0 /\ hb[h].out = 0
     /\ hb' = [hb EXCEPT ![h] = Kept(IF at.term = 0 THEN absent ELSE present)]
     /\ copy' = [copy EXCEPT ![c].hearts[h] = hb[h].process]
     /\ <<hb', copy'>> # <<hb, copy>>
     /\ UNCHANGED <<primary, beats, follows, faults, worker, disk, late, op>>

HbPush(h) ==
  /\ op.rev > hb[h].rev /\ ~op.short /\ hb[h].process # 0
  /\ hb[h].out = 0 \/ ~Holds("S12 no beat outstanding")
  /\ hb' = [hb EXCEPT ![h] = Latched(hb[h], op.rev)]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late, op>>

\* A revocation that does not cover the term: it latches nothing. A receipt says that the term is over,
\* so there is one only from a heartbeat that has given the term up in another way.
HbShort(h) ==
  /\ op.short /\ op.done < op.rev /\ hb[h].out = 0 /\ hb[h].said # hb[h].process
  /\ hb[h].latch >= op.rev \/ ~Holds("A2 names the term that ended")
  /\ hb' = [hb EXCEPT ![h].said = hb[h].process, ![h].elsewhere = @ \/ hb[h].moved]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late, op>>

\* Started again with its disk, it answers again once the operator repeats the stop.
HbAgain(h) ==
  /\ op.rev # 0 /\ op.done < op.rev /\ hb[h].said # 0 /\ hb[h].said # hb[h].process
  /\ hb[h].rev >= op.rev
  /\ ~hb[h].bad \/ ~Holds("S9 failed does not count")
  /\ hb' = [hb EXCEPT ![h].said = hb[h].process, ![h].elsewhere = @ \/ hb[h].moved]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late, op>>

\* beat.lua
Beaten(c, h, term, n) ==
  IF copy[c].term = term /\ copy[c].tomb < term
  THEN [copy EXCEPT ![c].beats[h] = Max({@, n})] ELSE copy

HbBeat(h) ==
  /\ ~Has("slow beats") /\ hb[h].link # 0 /\ hb[h].term # 0 /\ ~hb[h].bad
  /\ beats < BEATS /\ beats' = beats + 1
  /\ copy' = Beaten(hb[h].link, h, hb[h].term, beats') /\ copy' # copy
  /\ hb' = [hb EXCEPT ![h].moved = @ \/ ~copy[hb[h].link].origin,
                      ![h].made = IF Has("owner") THEN @ \cup {beats'} ELSE @]
  /\ UNCHANGED <<primary, follows, faults, worker, disk, late, op>>

\* The same in two steps.
HbSend(h) ==
  /\ Has("slow beats")
  /\ hb[h].link # 0 /\ hb[h].out = 0 /\ hb[h].term # 0 /\ ~hb[h].bad
  /\ beats < BEATS /\ beats' = beats + 1
  /\ hb' = [hb EXCEPT ![h].out = beats']
  /\ UNCHANGED <<copy, primary, follows, faults, worker, disk, late, op>>

\* In the mutant that answers early the term of the beat under way is the one it was sent for.
HbExecute(h) ==
  LET term == IF hb[h].term # 0 THEN hb[h].term ELSE copy[hb[h].link].term
  IN /\ hb[h].out # 0 /\ copy' = Beaten(hb[h].link, h, term, hb[h].out)
     /\ hb' = [hb EXCEPT ![h].out = 0, ![h].moved = @ \/ ~copy[hb[h].link].origin]
     /\ UNCHANGED <<primary, beats, follows, faults, worker, disk, late, op>>

\* No answer in time: the connection is closed, and what was on it is gone.
HbGiveUp(h) ==
  /\ hb[h].out # 0
  /\ late' = IF Holds("a closed connection delivers nothing") THEN late
             ELSE late \cup {<<hb[h].link, h, hb[h].term, hb[h].out>>}
  /\ hb' = [hb EXCEPT ![h].out = 0, ![h].link = 0, ![h].moved = @ \/ ~copy[hb[h].link].origin]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, op>>

LateBeat ==
  \E b \in late : /\ copy' = Beaten(b[1], b[2], b[3], b[4]) /\ late' = late \ {b}
                  /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, op>>

Reassert(h) ==
  LET c == hb[h].link
  IN /\ c # 0 /\ hb[h].out = 0 /\ hb[h].rev > copy[c].tomb
     /\ copy' = [copy EXCEPT ![c].tomb = hb[h].rev,
                             ![c].term = IF @ <= hb[h].rev THEN 0 ELSE @,
                             ![c].beats = IF copy[c].term <= hb[h].rev THEN NoPair ELSE @]
     /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, late, op>>

\* Killed and started again, with its disk or with an empty one.
HbRestart(h, empty) ==
  LET lost == empty \/ ~HeartbeatFiles
      kept == IF lost THEN [latch |-> 0, term |-> 0, rev |-> 0] ELSE hb[h].kept
  IN /\ Fault(IF empty THEN "empty" ELSE "restart") /\ hb[h].process # 0
     \* Against the owner a disk may be lost once the stop has every answer, and not before.
     /\ Has("owner") /\ empty => \A n \in Named : hb[n].said # 0 \/ op.done # 0
     /\ hb' = [hb EXCEPT ![h] = [link |-> primary, from |-> primary, born |-> beats, made |-> hb[h].made, latch |-> kept.latch, term |-> kept.term,
          rev |-> kept.rev, out |-> 0, absent |-> FALSE, others |-> NoPair,
          process |-> hb[h].process + 1, said |-> hb[h].said, elsewhere |-> hb[h].elsewhere,
          bad |-> FALSE, moved |-> hb[h].moved \/ lost, gone |-> hb[h].gone,
          kept |-> kept]]
     /\ UNCHANGED <<copy, primary, beats, follows, worker, disk, late, op>>

HbBadDisk(h) ==
  /\ HeartbeatFiles /\ ~hb[h].bad /\ Fault("disk") /\ hb' = [hb EXCEPT ![h].bad = TRUE]
  /\ UNCHANGED <<copy, primary, beats, follows, worker, disk, late, op>>

-----------------------------------------------------------------------------
\* workers

Start(w) ==
  /\ worker[w].life = "unborn"
  /\ worker' = [worker EXCEPT ![w].life = "up", ![w].link = primary,
       ![w].latch = IF WorkerFiles THEN disk ELSE 0,
       ![w].heir = IF WorkerFiles THEN Max({0} \cup {worker[v].told : v \in Workers}) ELSE 0]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late, op>>

Kill(w) ==
  /\ worker[w].life = "up" /\ Fault("kill")
  /\ worker' = [worker EXCEPT ![w] = [worker[w] EXCEPT !.life = "dead", !.armed = FALSE,
       !.p = 0, !.order = 0, !.link = 0, !.shown = NoPair, !.term = 0, !.pair = 0]]
  /\ UNCHANGED <<copy, primary, beats, follows, hb, disk, late, op>>

BadDisk(w) ==
  /\ WorkerFiles /\ worker[w].life = "up" /\ ~worker[w].bad /\ Fault("disk")
  /\ worker' = [worker EXCEPT ![w].bad = TRUE]
  /\ UNCHANGED <<copy, primary, beats, follows, hb, disk, late, op>>

Connect(w) ==
  /\ worker[w].life = "up" /\ worker[w].link # primary
  /\ worker' = [worker EXCEPT ![w].link = primary, ![w].shown = NoPair]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late, op>>

Closed(r) == [r EXCEPT !.armed = FALSE, !.p = 0, !.shown = NoPair]

\* core.view.revoked: closed at once; the rest of the stop follows step by step.
Stopped(r, rev) ==
  IF rev <= r.latch THEN r
  ELSE IF r.term # 0 /\ ~Covers(rev, r.term) THEN [r EXCEPT !.latch = rev]
  ELSE [Closed(r) EXCEPT !.latch = rev, !.term = 0, !.phase = "stopping"]

\* One attend: registers and reads. Now: whether the clock of S14 runs.
Now == IF op.clock THEN 2 ELSE 1
Attend(w) ==
  LET c == worker[w].link  at == copy[c]
      r == Stopped(worker[w], at.tomb)
      entered == IF r.term = at.term THEN r
                 ELSE [Closed(r) EXCEPT !.term = at.term, !.phase = "run"]
      new == {h \in Believed : entered.shown[h] # None /\ at.beats[h] > entered.shown[h]}
      p == IF new = {} THEN entered.p ELSE Max({entered.p, entered.pair})
      judged == [entered EXCEPT !.shown = at.beats, !.pair = Now, !.p = p, !.armed = p # 0]
      covered == Covers(r.latch, at.term) /\ Holds("S9 latch refuses")
  IN /\ worker[w].life = "up" /\ c # 0
     /\ copy' = [copy EXCEPT ![c].fleet = @ \cup {w}]
     /\ worker' = [worker EXCEPT ![w] =
          CASE at.term = 0 -> [Closed(r) EXCEPT !.term = 0]
            [] at.term # 0 /\ covered -> IF r.phase = "run" THEN Closed(r) ELSE r
            [] at.term # 0 /\ ~covered /\ r.phase \in {"stopping", "latched"} -> r
            [] OTHER -> judged]
     /\ UNCHANGED <<primary, beats, follows, faults, hb, disk, late, op>>

Push(w) ==
  /\ worker[w].life = "up" /\ op.rev > worker[w].latch /\ ~op.short
  /\ worker' = [worker EXCEPT ![w] = Stopped(worker[w], op.rev)]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late, op>>

\* persist, then the `latched` receipt
Persist(w) ==
  LET r == worker[w]  fails == r.bad /\ WorkerFiles
  IN /\ r.life = "up" /\ r.phase = "stopping"
     /\ disk' = IF fails \/ ~WorkerFiles \/ ~Holds("S9 durable before receipt") THEN disk
                ELSE Max({disk, r.latch})
     /\ LET counts == ~fails \/ ~Holds("S9 failed does not count")
            told == IF counts THEN r.latch ELSE r.told
        \* With no orders to wait for, `drained` follows at once.
        IN worker' = [worker EXCEPT ![w].told = told,
             ![w].phase = IF Has("orders") THEN "latched" ELSE "drained",
             ![w].drained = IF Has("orders") THEN @ ELSE told]
     /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, late, op>>

\* In the mutant the receipt went out first, and this comes too late.
PersistLate ==
  /\ ~Holds("S9 durable before receipt") /\ WorkerFiles
  /\ \E w \in Workers : /\ worker[w].life = "up" /\ worker[w].told > disk /\ ~worker[w].bad
                        /\ disk' = worker[w].told
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, worker, late, op>>

\* hooks, drain at most drain_ms, then the `drained` receipt with what is left
Drain(w) ==
  LET r == worker[w]
  IN /\ r.life = "up" /\ r.phase = "latched"
     /\ worker' = [worker EXCEPT ![w].phase = "drained", ![w].left = r.order # 0,
          ![w].drained = IF r.told = r.latch THEN r.latch ELSE @]
     /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late, op>>

Send(w) ==
  /\ Has("orders")
  /\ worker[w].armed /\ worker[w].order = 0 /\ (Forgotten = {} \/ w \in Forgotten)
  /\ worker' = [worker EXCEPT ![w].order = worker[w].term]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late, op>>

Arrive(w) ==
  /\ worker[w].order # 0 /\ worker' = [worker EXCEPT ![w].order = 0]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late, op>>

-----------------------------------------------------------------------------
\* the operator

\* Sign and PUBLISH: from here on any pod may take the push. A host with an old keyset signs blind, and
\* where its clock is slower than the term is old the revocation does not cover the term.
Revoke ==
  /\ ~Has("delete")
  /\ op.rev < TERMS /\ \E c \in Copies : copy[c].term = op.rev + 1
  /\ \E short \in IF Has("short") THEN BOOLEAN ELSE {FALSE} :
     op' = [op EXCEPT !.rev = @ + 1, !.short = short, !.link = primary, !.shown = FALSE, !.read = FALSE,
                      !.after = FALSE, !.hearts = {}, !.fleet = {}, !.words = {},
                      !.clock = FALSE, !.over = FALSE]
  /\ hb' = [h \in Heartbeats |-> [hb[h] EXCEPT !.said = 0, !.elsewhere = FALSE]]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late>>

\* revoke.lua; a repeat deletes only what it covers
Remove ==
  LET c == op.link
  IN /\ op.rev # 0 /\ op.done < op.rev
     /\ copy' = [copy EXCEPT ![c].term = IF @ <= op.rev THEN 0 ELSE @,
                             ![c].tomb = IF op.short THEN @ ELSE Max({@, op.rev}),
                             ![c].beats = IF copy[c].term <= op.rev THEN NoPair ELSE @]
     /\ op' = [op EXCEPT !.shown = TRUE]
     /\ <<copy', op'>> # <<copy, op>>
     /\ UNCHANGED <<primary, beats, follows, faults, hb, worker, disk, late>>

\* What was executed and read on one server says nothing of another.
OpConnect ==
  /\ op.rev # 0 /\ op.done < op.rev
  /\ \E c \in Copies : Shows(c) /\ op.link # c
     /\ op' = [op EXCEPT !.link = c,
                      !.shown = @ /\ ~Holds("S14 shown on this server"),
                      !.after = @ /\ ~Holds("S14 shown on this server")]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, worker, disk, late>>

\* A1: the grant's heartbeats; one that a later grant let in is known where that grant is known.
Asked ==
  LET registered == {h \in Heartbeats : copy[op.link].hearts[h] # 0}
  IN IF Holds("A1 the grant names its heartbeats")
     THEN (Named \ Joined) \cup (registered \cap Named)
     ELSE registered \cup (Remembered \ Joined)

\* A5: each read registers, so whoever is on the roster lives, whatever was attested of it.
Read(at) == IF Holds("A5 a read takes the word back") THEN at.fleet ELSE at.fleet \ at.dead

ReadRosters ==
  /\ op.rev # 0 /\ op.done < op.rev /\ ~op.after
  /\ op.shown \/ ~Holds("S14 workers after the stop")
  /\ op' = [op EXCEPT !.read = TRUE, !.after = op.shown, !.clock = FALSE,
                      !.hearts = Asked,
                      !.fleet = Read(copy[op.link]),
                      !.words = copy[op.link].dead \ Read(copy[op.link])]
  /\ op' # op
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, worker, disk, late>>

\* The term has lived on this server only, which took the activation, as far as the heartbeats say.
Here == copy[op.link].origin
HereOnly == Here /\ (Holds("S14 beats on one server") => \A h \in op.hearts : ~hb[h].elsewhere)

\* The heartbeat has latched; the process that says so is the one that registered last. One that was
\* started since, with an empty disk, may have adopted the term from one that had not latched yet.
Answered(h) ==
  /\ hb[h].said # 0
  /\ Holds("S14 the process that registered last")
     => copy[op.link].hearts[h] = 0 \/ copy[op.link].hearts[h] = hb[h].said

\* Where the term may have lived on another server, too, every heartbeat of the keyset is asked: this
\* roster may lack one that joined there.
HeartsKnown ==
  /\ op.rev # 0 /\ op.done < op.rev /\ op.read
  /\ op.hearts # {} \/ ~Holds("S14 empty roster")
  /\ (\A h \in op.hearts : Answered(h)) \/ ~Holds("S14 heartbeats first")
  /\ Holds("S14 heartbeats of the keyset") /\ Holds("S14 heartbeats first")
     => HereOnly \/ \A h \in Heartbeats : Answered(h)

\* The last heartbeat's receipt: the operator's clock is started. Where a bare DEL ended the term,
\* nobody asks for receipts; then it is the moment at which the last heartbeat read that it is gone.
StartClock ==
  /\ ~op.clock
  /\ IF Has("delete") THEN \A h \in Heartbeats : hb[h].gone
     ELSE HeartsKnown
  /\ op' = [op EXCEPT !.clock = TRUE]
  /\ worker' = [w \in Workers |-> [worker[w] EXCEPT !.p = IF @ = 2 THEN 1 ELSE @,
                                                    !.pair = IF @ = 2 THEN 1 ELSE @]]
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late>>

Finished(by) ==
  [op EXCEPT !.done = op.rev, !.by = by, !.link = 0, !.shown = TRUE, !.read = TRUE, !.after = TRUE,
             !.hearts = {}, !.fleet = {}, !.words = {}, !.clock = TRUE]

\* beat_ms later no deadline is left that rests on an old `p`. (The model's clock may be started at
\* any time after the last receipt: the earliest is the one that allows most.)
OldIsOver ==
  [w \in Workers |-> LET r == worker[w]
                     IN [r EXCEPT !.p = IF @ = 1 THEN 0 ELSE @, !.pair = IF @ = 1 THEN 0 ELSE @,
                                  !.armed = @ /\ r.p # 1]]

Unheard == [h \in Heartbeats |-> [hb[h] EXCEPT !.said = 0, !.elsewhere = FALSE]]

Drained(w) == worker[w].drained >= op.rev /\ (~worker[w].left \/ ~Holds("S14 nothing left"))

\* A5: off is not drained. It is COMPLETE when every worker that is listed has drained, else STOPPED.
\* Asked are those on the roster, and those of the activation, where the operator's host knows them; but
\* none that is attested dead (A5), where no failover can have lost that it has read since.
Recalled == IF Has("attested") THEN Workers ELSE {}
Counted == IF HereOnly \/ ~Holds("A5 words count on one server") THEN op.words ELSE {}
Listed == op.fleet \cup (Recalled \ Counted)
AllDrained == Listed # {} /\ \A w \in Listed : Drained(w)
ByTime == IF AllDrained \/ ~Holds("A5 drain unknown is not complete") THEN "time" ELSE "stopped"

OverByTime ==
  /\ HeartsKnown
  /\ IF Holds("S14 wait for beat_ms")
     THEN op.clock /\ op' = [Finished(ByTime) EXCEPT !.over = TRUE] /\ worker' = OldIsOver
     ELSE op' = Finished(ByTime) /\ UNCHANGED worker
  /\ hb' = Unheard
  /\ UNCHANGED <<copy, primary, beats, follows, faults, disk, late>>

TimeIsUpAfterDelete ==
  /\ Has("delete") /\ op.clock /\ ~op.over
  /\ op' = [op EXCEPT !.over = TRUE] /\ worker' = OldIsOver
  /\ UNCHANGED <<copy, primary, beats, follows, faults, hb, disk, late>>

CompleteByReceipts ==
  /\ HeartsKnown
  /\ Listed # {} \/ ~Holds("S14 empty roster")
  /\ Holds("S14 workers after the stop") => op.after
  /\ IF Holds("S11 each instance") THEN \A w \in Listed : Drained(w)
     ELSE \E w \in Listed : Drained(w)
  /\ Holds("S14 same primary") => Here
  /\ Holds("S14 beats on one server") => \A h \in op.hearts : ~hb[h].elsewhere
  /\ op' = Finished("receipts") /\ hb' = Unheard
  /\ UNCHANGED <<copy, primary, beats, follows, faults, worker, disk, late>>

Next ==
  \/ OwnerReplays \/ OwnerHides \/ \E h \in Heartbeats : HbStart(h)
  \/ Follow \/ Failover \/ Crash \/ Delete \/ \E t \in Terms : Activate(t)
  \/ \E h \in Heartbeats : HbLose(h) \/ HbConnect(h) \/ HbRead(h) \/ HbPush(h) \/ HbShort(h) \/ HbAgain(h) \/ HbBeat(h) \/ HbSend(h) \/ HbExecute(h)
       \/ HbGiveUp(h) \/ Reassert(h) \/ HbBadDisk(h) \/ \E empty \in BOOLEAN : HbRestart(h, empty)
  \/ LateBeat
  \/ \E w \in Workers : Start(w) \/ Kill(w) \/ BadDisk(w) \/ Connect(w) \/ Attend(w) \/ Push(w)
       \/ Persist(w) \/ Drain(w) \/ Send(w) \/ Arrive(w)
  \/ PersistLate
  \/ Revoke \/ Remove \/ OpConnect \/ ReadRosters \/ StartClock \/ TimeIsUpAfterDelete
  \/ OverByTime \/ CompleteByReceipts

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* what must hold

Ongoing(w, term) == worker[w].armed /\ worker[w].term <= term

\* After COMPLETE, and after STOPPED, nobody permits, ever again, for a term that was stopped.
CompleteMeansOff == \A w \in Workers : ~Ongoing(w, op.done)
\* And after COMPLETE no order of such a term is in flight, of a worker that a roster has named.
CompleteMeansDrained ==
  op.by \in {"receipts", "time"} => \A w \in Workers : worker[w].order \notin 1..op.done
\* Once stopped, a term has no heartbeat left that would beat for it, on whatever data it finds.
CompleteMeansSilent == \A h \in Heartbeats : hb[h].term \notin 1..op.done
\* Once every heartbeat has read that the key is gone, only an activation starts the fleet again.
RemovedStaysOff == Has("delete") /\ op.over => \A w \in Workers : ~worker[w].armed
\* A worker that sent a durable receipt does not arm again, nor does one started after it.
LatchesHold == \A w \in Workers : ~Ongoing(w, Max({worker[w].told, worker[w].heir}))

\* Witnesses: each must be refuted, or the model does nothing.
NeverTrades == \A w \in Workers : worker[w].order = 0
NeverByReceipts == op.by # "receipts"
NeverByTime == op.by \notin {"time", "stopped"}
NeverCompleteByTime == op.by # "time"
NeverDrainUnknown == op.by # "stopped"
NeverRemoved == ~(Has("delete") /\ op.over /\ copy[primary].term # 0)
NeverAfterFailover == ~(op.done # 0 /\ primary = 2)
NeverBegunAgain == ~(op.done = 1 /\ \E w \in Workers : worker[w].armed /\ worker[w].term = 2)
NeverLosesADisk == ~(op.done # 0 /\ \E h \in Heartbeats : hb[h].process > 1 /\ hb[h].latch = 0)
NeverAttested == ~(op.by = "receipts" /\ copy[primary].dead # {})
NeverShort == ~(op.short /\ op.done # 0)
NeverOldDataBack == ~(op.done # 0 /\ copy[primary].term \in 1..op.done)
=============================================================================
