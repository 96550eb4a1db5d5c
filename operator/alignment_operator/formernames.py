"""Names that recipes of older versions of TRL, transformers and the alignment-handbook use."""

# Old name -> today's. From TRL's and transformers' migration guides.
RENAMED = {
    "torch_dtype": "dtype",
    "evaluation_strategy": "eval_strategy",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "max_seq_length": "max_length",
    "lora_target": "lora_target_modules",
    "attn_implement": "attn_implementation",
    "lora_weights": "adapter_name_or_path",
    "dataset_mixer": "datasets",
    "dataset_mixture": "datasets",
    "preprocessing_num_workers": "dataset_num_proc",
}

# Old name -> the field whose value it is today. `import` translates the value.
ELSEWHERE = {
    "warmup_ratio": "now warmupSteps: below 1 it is a share of all steps",
    "group_by_length": "now trainSamplingStrategy: group_by_length",
    "adafactor": "now optim: adafactor",
    "use_flash_attention_2": "now spec.model.attnImplementation: flash_attention_2",
}

# Old name -> what to do instead. A person decides; the rest of the recipe is imported.
GONE = {
    "max_prompt_length": "TRL cuts prompt and completion together: maxLength is the one bound",
    "max_completion_length": "TRL cuts prompt and completion together: maxLength is the one bound",
    "logging_dir": "logs of reporters go where their own environment says (TENSORBOARD_LOGGING_DIR)",
    "save_safetensors": "checkpoints are always safetensors",
    "overwrite_output_dir": "every run writes a folder of its own",
    "chat_template": "put it into the tokenizer of the model (sft and reward: chatTemplatePath)",
    "is_encoder_decoder": "TRL reads it from the model",
    "generate_during_eval": "TRL removed it",
    "reference_free": "TRL removed it; cpo with lossType simpo needs no reference",
    "rpo_alpha": "use lossType: [sigmoid, sft] with lossWeights",
    "label_pad_token_id": "TRL sets it",
    "padding_value": "TRL sets it",
    "use_logits_to_keep": "TRL always does",
    "model_adapter_name": "TRL names the adapters",
    "ref_adapter_name": "TRL names the adapters",
    "force_use_ref_model": "spec.referenceModel.strategy: Resident",
    "ref_model_init_kwargs": "spec.referenceModel.model",
    "tokenizer_name_or_path": "the tokenizer is the model's",
    "auto_insert_empty_system_msg": "the chat template decides",
    "truncation_side": "TRL cuts at the end",
    "no_cuda": "spec.gpusPerNode: 0",
    "use_cpu": "spec.gpusPerNode: 0",
    "deepspeed": "write the JSON text of the file into training.deepspeed",
    "hub_model_revision": "spec.output.push uploads to the default branch",
    "env": "podTemplate.spec.containers[trainer].env",
}
