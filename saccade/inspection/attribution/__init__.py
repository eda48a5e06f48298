"""What each token that was read contributes to each output token, by two methods that use no attention.

- Gradient x input (Denil et al. 2014): the gradient of an output token's log-probability with respect to the
  embedding of a token, times this embedding, summed over channels. Positions are not part of the embedding.
- Erasure (Li et al. 2016): an output token's log-probability, minus the same in a run without the token.

`attributor` has what all attributors share; each other module has those of one way of reading.
"""
