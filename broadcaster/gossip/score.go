package gossip

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A neighbour's score is minus the square of its rejected messages in each
// shard, and of its offences elsewhere, which fade within minutes. An honest node sends none, ever: it checks
// what it forwards. So little is needed to be sure, and the thresholds leave
// room for a restart with a bug fixed. Deliveries earn nothing: a node with
// nothing to say is as good as any.
const (
	invalidWeight = -1
	// gossipThreshold (10 rejected messages) ends the exchange of message ids.
	gossipThreshold = -100
	// publishThreshold (14) ends the sending of own messages.
	publishThreshold = -200
	// graylistThreshold (20) ends the reading of anything.
	graylistThreshold = -400
	// invalidFade is how long a rejected message takes to be forgotten.
	invalidFade = 10 * time.Minute
	// behaviourWeight is for breaking gossipsub's own rules: grafting too
	// soon, advertising what it does not send. The square counts what goes
	// beyond behaviourThreshold, which overload alone can cause.
	behaviourWeight    = -10
	behaviourThreshold = 6
	behaviourFade      = time.Minute
	// retainScore keeps a bad score over a reconnection.
	retainScore = time.Hour
	// decayInterval is how often counters fade: gossipsub takes no less.
	decayInterval = time.Second
	decayToZero   = 0.01
)

func scoreParams(topics []string, offended func(peer.ID) float64) (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	p := &pubsub.PeerScoreParams{
		SkipAtomicValidation:      true,
		Topics:                    make(map[string]*pubsub.TopicScoreParams, len(topics)),
		AppSpecificScore:          func(p peer.ID) float64 { n := offended(p); return invalidWeight * n * n },
		AppSpecificWeight:         1,
		BehaviourPenaltyWeight:    behaviourWeight,
		BehaviourPenaltyThreshold: behaviourThreshold,
		BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(behaviourFade),
		DecayInterval:             decayInterval,
		DecayToZero:               decayToZero,
		RetainScore:               retainScore,
	}
	for _, t := range topics {
		p.Topics[t] = &pubsub.TopicScoreParams{
			SkipAtomicValidation:           true,
			TopicWeight:                    1,
			TimeInMeshQuantum:              time.Second, // without weight, but gossipsub divides by it
			InvalidMessageDeliveriesWeight: invalidWeight,
			InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(invalidFade),
		}
	}
	return p, &pubsub.PeerScoreThresholds{
		SkipAtomicValidation: true,
		GossipThreshold:      gossipThreshold,
		PublishThreshold:     publishThreshold,
		GraylistThreshold:    graylistThreshold,
	}
}
