"""A fake policy's way to answer the questions that the predictor asks together."""


class AnswersOneByOne:
    """For a class with `predict`, as `SmolVLAPolicy` has it."""

    def prepare(self, *args, **kwargs):
        return args, kwargs

    def predict_together(self, questions):
        return [self.predict(*args, **kwargs) for args, kwargs in questions]
